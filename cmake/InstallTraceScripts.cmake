# Part of cmake --install: the scripts for bpftrace name library and daemon where this installation puts them.
foreach(script orders reclaims)
  set(file "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${scripts_dir}/${script}.bt")
  file(READ "${file}" text)
  string(REPLACE "/usr/lib/libzeropool.so" "${CMAKE_INSTALL_PREFIX}/${libdir}/libzeropool.so" text "${text}")
  string(REPLACE "/usr/sbin/zeropoold" "${CMAKE_INSTALL_PREFIX}/${sbindir}/zeropoold" text "${text}")
  file(WRITE "${file}" "${text}")
endforeach()
