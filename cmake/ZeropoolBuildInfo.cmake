# generated/daemon/build_info.hpp: version, revision and compiler, as zeropool::daemon::build_info. The revision is
# looked up at each build, the file is written only when it changed.
set(ZEROPOOL_REVISION "" CACHE STRING "Revision to report, where there is no .git to ask")
set(ZEROPOOL_GENERATED_DIR "${CMAKE_BINARY_DIR}/generated")
find_package(Git QUIET)

set(write_build_info
    "${CMAKE_COMMAND}"
    -D "SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    -D "VERSION=${PROJECT_VERSION}"
    -D "REVISION=${ZEROPOOL_REVISION}"
    -D "COMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
    -D "GIT=${GIT_EXECUTABLE}"
    -D "TEMPLATE=${PROJECT_SOURCE_DIR}/cmake/build_info.hpp.in"
    -D "OUTPUT=${ZEROPOOL_GENERATED_DIR}/daemon/build_info.hpp"
    -P "${PROJECT_SOURCE_DIR}/cmake/WriteBuildInfo.cmake")
execute_process(COMMAND ${write_build_info} COMMAND_ERROR_IS_FATAL ANY)
add_custom_target(zeropool_build_info
  COMMAND ${write_build_info}
  BYPRODUCTS "${ZEROPOOL_GENERATED_DIR}/daemon/build_info.hpp"
  COMMENT "Looking up the revision"
  VERBATIM)
