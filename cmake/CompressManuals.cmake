# Run by CPack once the packages' files are together: manual pages are compressed, as Debian wants them.
file(GLOB_RECURSE pages "${CPACK_TEMPORARY_DIRECTORY}/*.[0-9]")
list(FILTER pages INCLUDE REGEX "/share/man/man[0-9]/")
foreach(page IN LISTS pages)
  execute_process(COMMAND gzip -9nf "${page}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
