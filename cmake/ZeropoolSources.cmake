# zeropool_sources(<variable> <folder>...): every .cpp below the folders, for targets that take a whole folder.
# A new file needs no edit of CMake: the globs are checked again at each build.
function(zeropool_sources variable)
  set(patterns ${ARGN})
  list(TRANSFORM patterns APPEND "/*.cpp")
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${patterns})
  set(${variable} "${found}" PARENT_SCOPE)
endfunction()
