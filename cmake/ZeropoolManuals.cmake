# The manual pages: written in scdoc, those of the C calls made from zeropool.h, that of the configuration with the default
# file in it. Sets manual_pages and c_pages_dir, for the installation; without scdoc there are none.
find_program(SCDOC scdoc)
find_program(AWK awk)
if(NOT SCDOC OR NOT AWK)
  message(STATUS "no scdoc or awk: no manual pages")
  return()
endif()

set(manuals_dir "${CMAKE_BINARY_DIR}/man")
set(c_pages_dir "${manuals_dir}/man3")
set(sources "${PROJECT_SOURCE_DIR}/docs/man")
file(MAKE_DIRECTORY "${manuals_dir}")

add_custom_command(
  OUTPUT "${manuals_dir}/zeropoold.yaml.5.scd"
  COMMAND "${AWK}" -v "included=${PROJECT_SOURCE_DIR}/config/zeropoold.yaml" -f "${sources}/include.awk"
          "${sources}/zeropoold.yaml.5.scd.in" > "${manuals_dir}/zeropoold.yaml.5.scd"
  DEPENDS "${sources}/zeropoold.yaml.5.scd.in" "${sources}/include.awk" config/zeropoold.yaml
  VERBATIM)

set(manual_pages)
foreach(page zeropoold.8 zeropoold.yaml.5 zeropoolctl.1 zeropool.7)
  set(source "${sources}/${page}.scd")
  if(page STREQUAL "zeropoold.yaml.5")
    set(source "${manuals_dir}/${page}.scd")
  endif()
  add_custom_command(OUTPUT "${manuals_dir}/${page}"
    COMMAND "${SCDOC}" < "${source}" > "${manuals_dir}/${page}"
    DEPENDS "${source}" VERBATIM)
  list(APPEND manual_pages "${manuals_dir}/${page}")
endforeach()

add_custom_command(
  OUTPUT "${manuals_dir}/man3.stamp"
  COMMAND "${CMAKE_COMMAND}" -E rm -rf "${c_pages_dir}"
  COMMAND "${CMAKE_COMMAND}" -E make_directory "${c_pages_dir}"
  COMMAND "${AWK}" -v "folder=${c_pages_dir}" -v "version=${PROJECT_VERSION}" -f "${sources}/c_pages.awk"
          "${PROJECT_SOURCE_DIR}/client/include/zeropool.h"
  COMMAND "${CMAKE_COMMAND}" -E touch "${manuals_dir}/man3.stamp"
  DEPENDS client/include/zeropool.h "${sources}/c_pages.awk"
  VERBATIM)

add_custom_target(manuals ALL DEPENDS ${manual_pages} "${manuals_dir}/man3.stamp")
