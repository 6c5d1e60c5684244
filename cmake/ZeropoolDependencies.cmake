# Third-party packages. What is only needed by tests or benchmarks is optional here: scripts/test and scripts/bench
# install it, and fail when it is missing.
find_package(Threads REQUIRED)

# Tracepoints of libzeropool and zeropoold: one header, of macros around a nop and a note. Needed to build, not to run. A
# client alone, which is built for another architecture, has none.
add_library(zeropool_tracepoints INTERFACE)
if(ZEROPOOL_CLIENT_ONLY)
  if(BUILD_TESTING)
    find_package(doctest REQUIRED)
  endif()
  return()
endif()
find_package(PkgConfig REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

if(ZEROPOOL_TRACEPOINTS)
  find_path(SDT_INCLUDE_DIR sys/sdt.h)
  if(NOT SDT_INCLUDE_DIR)
    message(FATAL_ERROR "sys/sdt.h is not installed: scripts/packages --install build (Debian: systemtap-sdt-dev), or "
                        "-DZEROPOOL_TRACEPOINTS=OFF to do without tracepoints")
  endif()
  target_compile_definitions(zeropool_tracepoints INTERFACE ZEROPOOL_TRACEPOINTS)
endif()

# daemon
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
# Debian's package file of prometheus-cpp asks for everything that its pull and push parts need (civetweb, zlib,
# curl); only core is used here, so its target is made from the library itself.
find_path(PROMETHEUS_CORE_INCLUDE_DIR prometheus/collectable.h REQUIRED)
find_library(PROMETHEUS_CORE_LIBRARY prometheus-cpp-core REQUIRED)
add_library(zeropool_prometheus_core INTERFACE)
target_include_directories(zeropool_prometheus_core SYSTEM INTERFACE "${PROMETHEUS_CORE_INCLUDE_DIR}")
target_link_libraries(zeropool_prometheus_core INTERFACE "${PROMETHEUS_CORE_LIBRARY}")
find_path(NUMA_INCLUDE_DIR numa.h REQUIRED)
find_library(NUMA_LIBRARY numa REQUIRED)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(GNUTLS REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(CRYPT REQUIRED IMPORTED_TARGET libcrypt)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)

# examples
if(ZEROPOOL_BUILD_EXAMPLES)
  find_package(OpenSSL REQUIRED COMPONENTS Crypto)
endif()

# tests
if(BUILD_TESTING)
  find_package(doctest QUIET)
  if(NOT doctest_FOUND)
    message(STATUS "doctest is not installed: tests are not built (scripts/packages --install test)")
  endif()
endif()

# examples, tests, bench of event loops: Boost.Asio (headers only) and io_uring
find_package(Boost 1.80 CONFIG QUIET)
pkg_check_modules(URING QUIET IMPORTED_TARGET liburing)

# tests/integration/direct_io.cpp: storage that answers late
if(BUILD_TESTING)
  pkg_check_modules(FUSE3 QUIET IMPORTED_TARGET fuse3)
endif()

# bench
if(ZEROPOOL_BUILD_BENCH)
  find_package(benchmark QUIET)
  find_library(TCMALLOC_MINIMAL_LIBRARY tcmalloc_minimal)
  find_library(MIMALLOC_LIBRARY mimalloc)
  find_library(JEMALLOC_LIBRARY jemalloc)
endif()
