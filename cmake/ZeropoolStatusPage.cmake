# generated/daemon/status_page_text.hpp: daemon/page/ as one document, and the Content-Security-Policy that lets its
# style and its script run and nothing else. Made at configure time; a change of a source configures again.

# The bytes that `hex` names, in base64.
function(zeropool_hex_to_base64 hex result)
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(text "")
  string(LENGTH "${hex}" length)
  set(begin 0)
  while(begin LESS length)
    string(SUBSTRING "${hex}" ${begin} 6 digits)  # three bytes, or what is left
    string(LENGTH "${digits}" present)
    string(SUBSTRING "${digits}0000" 0 6 digits)
    math(EXPR value "0x${digits}")
    set(sextets 4)
    if(present LESS 6)
      math(EXPR sextets "${present} / 2 + 1")
    endif()
    set(shift 18)
    foreach(place RANGE 1 4)
      if(place GREATER sextets)
        string(APPEND text "=")
      else()
        math(EXPR index "(${value} >> ${shift}) & 63")
        string(SUBSTRING "${alphabet}" ${index} 1 letter)
        string(APPEND text "${letter}")
      endif()
      math(EXPR shift "${shift} - 6")
    endforeach()
    math(EXPR begin "${begin} + 6")
  endwhile()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(zeropool_write_status_page folder output)
  foreach(part html css js)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${folder}/status.${part}")
    file(READ "${folder}/status.${part}" ${part})
  endforeach()
  foreach(part css js)
    string(SHA256 hash "${${part}}")
    zeropool_hex_to_base64("${hash}" hash_of_${part})
  endforeach()
  string(REPLACE "/*zp:style*/" "${css}" html "${html}")
  string(REPLACE "/*zp:script*/" "${js}" html "${html}")
  set(delimiter "status_page")
  string(FIND "${html}" ")${delimiter}\"" found)
  string(FIND "${html}" "$<" expression)
  if(NOT found EQUAL -1 OR NOT expression EQUAL -1)
    message(FATAL_ERROR "daemon/page/ holds what has a meaning here: )${delimiter}\" or $<")
  endif()
  string(CONCAT policy
    "default-src 'none'; script-src 'sha256-${hash_of_js}'; style-src 'sha256-${hash_of_css}'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
  string(CONCAT text
    "// Made of daemon/page/ by cmake/ZeropoolStatusPage.cmake.\n#pragma once\n\n"
    "namespace zeropool::daemon::status_page_text {\n\n"
    "inline constexpr const char* kPolicy =\n    R\"${delimiter}(${policy})${delimiter}\";\n"
    "inline constexpr const char* kDocument =\n    R\"${delimiter}(${html})${delimiter}\";\n\n"
    "}  // namespace zeropool::daemon::status_page_text\n")
  file(GENERATE OUTPUT "${output}" CONTENT "${text}")
endfunction()

zeropool_write_status_page("${PROJECT_SOURCE_DIR}/daemon/page"
  "${ZEROPOOL_GENERATED_DIR}/daemon/status_page_text.hpp")
