# Debian packages, by CPack: one a component, each of the name of its component. scripts/package makes them.
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
if(NOT TARGET zeropoold OR NOT TARGET zeropoolctl OR NOT TARGET zeropool OR NOT DPKG_SHLIBDEPS OR ZEROPOOL_SANITIZE)
  return()
endif()

set(ZEROPOOL_MAINTAINER "The zeropool authors <maintainers@zeropool.invalid>" CACHE STRING
    "Who the packages say made them")
set(debian_dir "${PROJECT_SOURCE_DIR}/deploy/debian")
set(staged "${CMAKE_BINARY_DIR}/package/debian")
string(TIMESTAMP build_date "%a, %d %b %Y %H:%M:%S +0000" UTC)  # SOURCE_DATE_EPOCH, where it is set

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME zeropool)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # else it is every package's
set(CPACK_PACKAGE_CONTACT "${ZEROPOOL_MAINTAINER}")
set(CPACK_PACKAGE_DIRECTORY "${CMAKE_BINARY_DIR}/packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/CompressManuals.cmake")
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_COMPONENTS_ALL)

# zeropool_package(<component> <section> <summary> <description>): with the files that each package must have.
function(zeropool_package component section summary description)
  string(TOUPPER "${component}" upper)
  file(CONFIGURE OUTPUT "${staged}/${component}/changelog" @ONLY CONTENT
"${component} (${PROJECT_VERSION}-1) unstable; urgency=medium

  * What has changed is told in CHANGELOG.md of the sources.

 -- ${ZEROPOOL_MAINTAINER}  ${build_date}
")
  find_program(GZIP gzip REQUIRED)
  execute_process(COMMAND "${GZIP}" -9nf "${staged}/${component}/changelog" COMMAND_ERROR_IS_FATAL ANY)
  set(doc share/doc/${component})
  install(FILES "${staged}/${component}/changelog.gz" DESTINATION ${doc} RENAME changelog.Debian.gz
          COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(FILES "${debian_dir}/copyright" DESTINATION ${doc} COMPONENT ${component} EXCLUDE_FROM_ALL)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${component} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${description}" PARENT_SCOPE)
  list(APPEND CPACK_COMPONENTS_ALL ${component})
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} PARENT_SCOPE)
endfunction()

zeropool_package(zeropoold admin "daemon that keeps shared-memory buffers for the processes of one machine"
"zeropoold owns memory on each NUMA node, on huge pages where they can be had,
under one budget. Programs get buffers of it in a few nanoseconds, hand them to
each other without a copy, and lose nothing when one of them is killed.")
zeropool_package(zeropoolctl admin "tool that looks after zeropoold and its shared-memory buffers"
"zeropoolctl shows what zeropoold keeps and who holds it, counts every buffer,
and says what is wrong and how it is mended.")
zeropool_package(libzeropool1 libs "library for the shared-memory buffers of zeropoold"
"libzeropool gets, puts and hands on buffers of zeropoold's pools. It needs
nothing but the C library.")
zeropool_package(libzeropool-dev libdevel "headers and manual pages of libzeropool"
"What it takes to build C and C++ programs that use libzeropool.")
get_cmake_property(components COMPONENTS)
if("zeropool-dashboards" IN_LIST components)
  zeropool_package(zeropool-dashboards admin "dashboards, rules and alerts for zeropoold"
"What Grafana shows and Prometheus computes of zeropoold's metrics.")
  set(CPACK_DEBIAN_ZEROPOOL-DASHBOARDS_PACKAGE_ARCHITECTURE all)
endif()

set(CPACK_DEBIAN_ZEROPOOLD_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_ZEROPOOLCTL_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_LIBZEROPOOL1_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_ZEROPOOLD_PACKAGE_DEPENDS "init-system-helpers (>= 1.54), systemd | systemd-standalone-sysusers, zeropoolctl")
set(CPACK_DEBIAN_LIBZEROPOOL-DEV_PACKAGE_DEPENDS "libzeropool1 (= ${PROJECT_VERSION}-1)")
# CPack takes a control file by its name.
foreach(script postinst prerm postrm)
  configure_file("${debian_dir}/zeropoold.${script}" "${staged}/control/${script}" COPYONLY)
endforeach()
file(WRITE "${staged}/control/conffiles" "/etc/zeropool/zeropoold.yaml\n")
set(CPACK_DEBIAN_ZEROPOOLD_PACKAGE_CONTROL_EXTRA
    "${staged}/control/postinst" "${staged}/control/prerm" "${staged}/control/postrm" "${staged}/control/conffiles")

file(WRITE "${staged}/control/shlibs"
     "libzeropool ${PROJECT_VERSION_MAJOR} libzeropool1 (>= ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})\n")
file(WRITE "${staged}/control/triggers" "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIBZEROPOOL1_PACKAGE_CONTROL_EXTRA "${staged}/control/shlibs" "${staged}/control/triggers")

include(CPack)
