# Options, and the interface targets that carry compile flags:
#   zeropool_flags            warnings, sanitizers: lib, daemon, client, ctl, tests
#   zeropool_flags_plain      warnings only: examples, bench
#   zeropool_no_exceptions    what client code is compiled with
option(ZEROPOOL_WERROR "Warnings are errors" OFF)
option(ZEROPOOL_NATIVE "Benchmarks are built for this machine's CPU (-march=native)" OFF)
option(ZEROPOOL_CCACHE "Use ccache when it is there" ON)
option(ZEROPOOL_BUILD_EXAMPLES "Build examples/" ON)
option(ZEROPOOL_BUILD_BENCH "Build bench/, when Google Benchmark is there" ON)
option(ZEROPOOL_VALGRIND "libzeropool tells Valgrind which memory is put, when its header is there" ON)
option(ZEROPOOL_TRACEPOINTS "libzeropool and zeropoold have tracepoints for bpftrace and perf (sys/sdt.h)" ON)
option(ZEROPOOL_HEADER_CHECK "Compile every public and lib header alone" ON)
option(ZEROPOOL_CLIENT_ONLY "Build lib, client and their unit tests, and nothing else: they need libc only" OFF)
option(ZEROPOOL_FUZZ "Build the targets of tests/fuzz for libFuzzer, and nothing else (needs clang)" OFF)
set(ZEROPOOL_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize= (address,undefined or thread)")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

set(ZEROPOOL_WARNINGS
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wcast-align -Wformat=2
    -Wimplicit-fallthrough -Wundef
    $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
    $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
    $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>
    $<$<COMPILE_LANGUAGE:CXX>:-Wextra-semi>
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wduplicated-cond -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow>
    $<$<BOOL:${ZEROPOOL_WERROR}>:-Werror>)

add_library(zeropool_flags_plain INTERFACE)
target_compile_options(zeropool_flags_plain INTERFACE ${ZEROPOOL_WARNINGS})

add_library(zeropool_flags INTERFACE)
target_link_libraries(zeropool_flags INTERFACE zeropool_flags_plain)
if(ZEROPOOL_SANITIZE)
  # -Wno-tsan: atomic_thread_fence is used on purpose. The others are false alarms of instrumented code.
  target_compile_options(zeropool_flags INTERFACE
    -fsanitize=${ZEROPOOL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-tsan>
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-stringop-overflow>)
  target_link_options(zeropool_flags INTERFACE -fsanitize=${ZEROPOOL_SANITIZE})
endif()

add_library(zeropool_no_exceptions INTERFACE)
target_compile_options(zeropool_no_exceptions INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions> $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>)
if(ZEROPOOL_SANITIZE MATCHES "undefined")
  target_compile_options(zeropool_no_exceptions INTERFACE -fno-sanitize=vptr)
endif()

# ThreadSanitizer of GCC 12 dies where the kernel randomises more than 28 bits of address, so its programs run
# without randomisation where that is allowed.
if(ZEROPOOL_SANITIZE MATCHES "thread")
  find_program(ZEROPOOL_SETARCH setarch)
  if(ZEROPOOL_SETARCH)
    execute_process(COMMAND "${ZEROPOOL_SETARCH}" -R true RESULT_VARIABLE setarch_result ERROR_QUIET)
    if(setarch_result EQUAL 0)
      set(CMAKE_CROSSCOMPILING_EMULATOR "${ZEROPOOL_SETARCH};-R")
    endif()
  endif()
endif()

if(ZEROPOOL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(ZEROPOOL_CCACHE_PROGRAM ccache)
  if(ZEROPOOL_CCACHE_PROGRAM)
    # The sloppiness is what ccache needs to cache sources that use a precompiled header.
    set(CMAKE_C_COMPILER_LAUNCHER "${ZEROPOOL_CCACHE_PROGRAM}")
    set(CMAKE_CXX_COMPILER_LAUNCHER
        env "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
        "${ZEROPOOL_CCACHE_PROGRAM}")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
      add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
    endif()
  endif()
endif()
