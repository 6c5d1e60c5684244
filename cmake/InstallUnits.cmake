# Part of cmake --install: the units name the programs where this installation puts them.
foreach(unit system/zeropoold.service system/zeropool-hugepages.service user/zeropoold.service)
  set(file "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/lib/systemd/${unit}")
  file(READ "${file}" text)
  string(REPLACE "=/usr/sbin/" "=${CMAKE_INSTALL_PREFIX}/${sbindir}/" text "${text}")
  string(REPLACE "=/usr/bin/" "=${CMAKE_INSTALL_PREFIX}/${bindir}/" text "${text}")
  file(WRITE "${file}" "${text}")
endforeach()
