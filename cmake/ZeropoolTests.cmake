# What every test is run with.
set(ZEROPOOL_TEST_ENVIRONMENT
    "ZEROPOOLD=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/zeropoold"
    "ZEROPOOLCTL=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/zeropoolctl"
    "ZEROPOOL_EXAMPLES_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/examples"
    "ZEROPOOL_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

# A precompiled doctest.h would hide a file's own DOCTEST_CONFIG_IMPLEMENT.
function(zeropool_no_pch_for_doctest_main)
  foreach(source IN LISTS ARGN)
    file(STRINGS "${source}" implements REGEX "^#define DOCTEST_CONFIG_IMPLEMENT" LIMIT_COUNT 1)
    if(implements)
      set_source_files_properties("${source}" PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
endfunction()

# zeropool_house_test(<name> <command>...): a script that looks at the repository or at what was built.
function(zeropool_house_test name)
  add_test(NAME house/${name} COMMAND ${ARGN})
  set_tests_properties(house/${name} PROPERTIES LABELS unit TIMEOUT 300)
endfunction()
