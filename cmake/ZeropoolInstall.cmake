# cmake --install: headers, library, CMake package, pkg-config file, daemon, ctl, units, manual pages. A component is what one
# Debian package holds (ZeropoolPackages.cmake), and has its name.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/zeropool")

if(TARGET zeropool)
  install(TARGETS zeropool EXPORT zeropoolTargets
          LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT libzeropool1 NAMELINK_COMPONENT libzeropool-dev
          INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(EXPORT zeropoolTargets NAMESPACE zeropool:: DESTINATION "${package_dir}" COMPONENT libzeropool-dev)
  configure_package_config_file(cmake/zeropoolConfig.cmake.in
    "${CMAKE_BINARY_DIR}/package/zeropoolConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${CMAKE_BINARY_DIR}/package/zeropoolConfigVersion.cmake"
    COMPATIBILITY SameMajorVersion)
  install(FILES "${CMAKE_BINARY_DIR}/package/zeropoolConfig.cmake"
                "${CMAKE_BINARY_DIR}/package/zeropoolConfigVersion.cmake"
          DESTINATION "${package_dir}" COMPONENT libzeropool-dev)

  file(RELATIVE_PATH PC_PREFIX_FROM_PCFILEDIR "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  configure_file(cmake/zeropool.pc.in "${CMAKE_BINARY_DIR}/package/zeropool.pc" @ONLY)
  install(FILES "${CMAKE_BINARY_DIR}/package/zeropool.pc"
          DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT libzeropool-dev)

  install(DIRECTORY client/include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT libzeropool-dev
          FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
  # The inline hot path includes these. They are no API: zeropool/lib/ may change with the layout version. It has no
  # tracepoints, so that nobody's program needs sys/sdt.h.
  install(DIRECTORY lib/include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT libzeropool-dev
          FILES_MATCHING PATTERN "*.hpp" PATTERN "tracepoint.hpp" EXCLUDE)
endif()

if(TARGET zeropoold)
  install(TARGETS zeropoold RUNTIME DESTINATION "${CMAKE_INSTALL_SBINDIR}" COMPONENT zeropoold)

  # The units in deploy/ name /usr; the installed ones name where the programs went, which is known at the installation.
  set(systemd_dir "${PROJECT_SOURCE_DIR}/deploy/systemd")
  install(FILES ${systemd_dir}/zeropoold.service ${systemd_dir}/zeropoold.socket ${systemd_dir}/zeropool-hugepages.service
          DESTINATION lib/systemd/system COMPONENT zeropoold)
  install(FILES ${systemd_dir}/user/zeropoold.service ${systemd_dir}/user/zeropoold.socket
          DESTINATION lib/systemd/user COMPONENT zeropoold)
  install(CODE "set(sbindir \"${CMAKE_INSTALL_SBINDIR}\")\nset(bindir \"${CMAKE_INSTALL_BINDIR}\")" COMPONENT zeropoold)
  install(SCRIPT cmake/InstallUnits.cmake COMPONENT zeropoold)
  install(FILES deploy/systemd/zeropool.sysusers DESTINATION lib/sysusers.d RENAME zeropool.conf COMPONENT zeropoold)
  install(FILES deploy/systemd/zeropool.tmpfiles DESTINATION lib/tmpfiles.d RENAME zeropool.conf COMPONENT zeropoold)
  install(FILES deploy/systemd/zeropool.sysctl deploy/systemd/zeropoold.service.d/remote-scraping.conf
                deploy/systemd/zeropoold.service.d/systemd-254.conf
          DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/zeropoold/systemd" COMPONENT zeropoold)
  # Of the package alone: an installation elsewhere leaves /etc as it is.
  install(FILES config/zeropoold.yaml DESTINATION /etc/zeropool COMPONENT zeropoold EXCLUDE_FROM_ALL)
endif()

# For Prometheus and Grafana: rules, an example of a configuration, the dashboard and how it is provisioned.
set(share_dir "${CMAKE_INSTALL_DATADIR}/zeropool")
install(FILES config/prometheus/prometheus.yml config/prometheus/alerts.yml config/prometheus/recording_rules.yml
        DESTINATION "${share_dir}/prometheus" COMPONENT zeropool-dashboards)
install(FILES deploy/grafana/zeropool.json DESTINATION "${share_dir}/grafana" COMPONENT zeropool-dashboards)
install(DIRECTORY deploy/grafana/provisioning DESTINATION "${share_dir}/grafana" COMPONENT zeropool-dashboards
        FILES_MATCHING PATTERN "*.yaml")

# The scripts for bpftrace name the files that they look at: the installed ones name those of this installation.
if(ZEROPOOL_TRACEPOINTS AND TARGET zeropool AND TARGET zeropoold)
  install(PROGRAMS deploy/bpftrace/orders.bt deploy/bpftrace/reclaims.bt DESTINATION "${share_dir}/bpftrace"
          COMPONENT zeropoold)
  install(CODE "set(sbindir \"${CMAKE_INSTALL_SBINDIR}\")\nset(libdir \"${CMAKE_INSTALL_LIBDIR}\")
set(scripts_dir \"${share_dir}/bpftrace\")" COMPONENT zeropoold)
  install(SCRIPT cmake/InstallTraceScripts.cmake COMPONENT zeropoold)
endif()

if(TARGET zeropoolctl)
  install(TARGETS zeropoolctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT zeropoolctl)
endif()

file(GLOB example_configs CONFIGURE_DEPENDS config/*.yaml)
if(example_configs)
  install(FILES ${example_configs} DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/zeropoold/examples" COMPONENT zeropoold)
endif()
install(FILES LICENSE CHANGELOG.md DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT without-package)

if(manual_pages)
  foreach(page IN LISTS manual_pages)
    string(REGEX REPLACE "^.*\\." "" section "${page}")
    set(component_of_1 zeropoolctl)
    set(component_of_5 zeropoold)
    set(component_of_7 libzeropool-dev)
    set(component_of_8 zeropoold)
    install(FILES "${page}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}" COMPONENT ${component_of_${section}})
  endforeach()
  install(DIRECTORY "${c_pages_dir}/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man3" COMPONENT libzeropool-dev)
endif()
