# cmake --install: headers, library, CMake package, pkg-config file, daemon, ctl, units, manual pages.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/zeropool")

if(TARGET zeropool)
  install(TARGETS zeropool EXPORT zeropoolTargets
          LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
          INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(EXPORT zeropoolTargets NAMESPACE zeropool:: DESTINATION "${package_dir}")
  configure_package_config_file(cmake/zeropoolConfig.cmake.in
    "${CMAKE_BINARY_DIR}/package/zeropoolConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${CMAKE_BINARY_DIR}/package/zeropoolConfigVersion.cmake"
    COMPATIBILITY SameMajorVersion)
  install(FILES "${CMAKE_BINARY_DIR}/package/zeropoolConfig.cmake"
                "${CMAKE_BINARY_DIR}/package/zeropoolConfigVersion.cmake"
          DESTINATION "${package_dir}")

  file(RELATIVE_PATH PC_PREFIX_FROM_PCFILEDIR "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  configure_file(cmake/zeropool.pc.in "${CMAKE_BINARY_DIR}/package/zeropool.pc" @ONLY)
  install(FILES "${CMAKE_BINARY_DIR}/package/zeropool.pc"
          DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

  install(DIRECTORY client/include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
          FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
  # The inline hot path includes these. They are no API: zeropool/lib/ may change with the layout version. It has no
  # tracepoints, so that nobody's program needs sys/sdt.h.
  install(DIRECTORY lib/include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
          FILES_MATCHING PATTERN "*.hpp" PATTERN "tracepoint.hpp" EXCLUDE)
endif()

if(TARGET zeropoold)
  install(TARGETS zeropoold RUNTIME DESTINATION "${CMAKE_INSTALL_SBINDIR}")

  # The units in deploy/ name /usr/sbin; the installed ones name where the daemon went.
  foreach(name zeropoold zeropool-hugepages)
    file(READ deploy/systemd/${name}.service unit)
    string(REPLACE "/usr/sbin/zeropoold" "${CMAKE_INSTALL_FULL_SBINDIR}/zeropoold" unit "${unit}")
    file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/package/${name}.service" CONTENT "${unit}" @ONLY)
    install(FILES "${CMAKE_BINARY_DIR}/package/${name}.service" DESTINATION lib/systemd/system)
  endforeach()
  install(FILES deploy/systemd/zeropool.sysusers DESTINATION lib/sysusers.d RENAME zeropool.conf)
endif()

# For Prometheus and Grafana: rules, an example of a configuration, the dashboard and how it is provisioned.
set(share_dir "${CMAKE_INSTALL_DATADIR}/zeropool")
install(FILES config/prometheus/prometheus.yml config/prometheus/alerts.yml config/prometheus/recording_rules.yml
        DESTINATION "${share_dir}/prometheus")
install(FILES deploy/grafana/zeropool.json DESTINATION "${share_dir}/grafana")
install(DIRECTORY deploy/grafana/provisioning DESTINATION "${share_dir}/grafana" FILES_MATCHING PATTERN "*.yaml")

# The scripts for bpftrace name files: the installed ones name where those went.
if(ZEROPOOL_TRACEPOINTS AND TARGET zeropool AND TARGET zeropoold)
  foreach(name orders reclaims)
    file(READ deploy/bpftrace/${name}.bt script)
    string(REPLACE "/usr/lib/libzeropool.so.1" "${CMAKE_INSTALL_FULL_LIBDIR}/libzeropool.so.${PROJECT_VERSION_MAJOR}"
           script "${script}")
    string(REPLACE "/usr/sbin/zeropoold" "${CMAKE_INSTALL_FULL_SBINDIR}/zeropoold" script "${script}")
    file(WRITE "${CMAKE_BINARY_DIR}/package/${name}.bt" "${script}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "deploy/bpftrace/${name}.bt")
    install(PROGRAMS "${CMAKE_BINARY_DIR}/package/${name}.bt" DESTINATION "${share_dir}/bpftrace")
  endforeach()
endif()

if(TARGET zeropoolctl)
  install(TARGETS zeropoolctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

file(GLOB example_configs CONFIGURE_DEPENDS config/*.yaml)
if(example_configs)
  install(FILES ${example_configs} DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples")
endif()
install(FILES LICENSE CHANGELOG.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")

if(manual_pages)
  foreach(page IN LISTS manual_pages)
    string(REGEX REPLACE "^.*\\." "" section "${page}")
    install(FILES "${page}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
  endforeach()
  install(DIRECTORY "${c_pages_dir}/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man3")
endif()
