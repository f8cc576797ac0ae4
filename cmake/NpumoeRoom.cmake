# npumoe_room(NAME [DEPENDS room...] [LIBRARIES lib...] [EXCLUDE file...])
#
# One static library per room from every .cc below the current folder, one test program
# (NAME_test, from *_test.cc) and one benchmark program (NAME_bench, from *_bench.cc).
# A room may link only the rooms named in DEPENDS; tests/architecture_test.py holds the
# same table against the #include lines.
#
# Targets: `tests` builds every test program, `benchmarks` (not part of `all`) every benchmark.
#
# NPUMOE_SELECTED_TESTS names test files (relative to the project). A room that has some gets one
# more program of those alone, NAME_selected_test: tools/sanitize.sh compiles no others.
set(NPUMOE_SELECTED_TESTS "" CACHE STRING "Test files of the programs ROOM_selected_test")
add_custom_target(tests)
add_custom_target(benchmarks)

function(npumoe_room NAME)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;LIBRARIES;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  set(tests ${sources})
  set(benches ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|/main)\\.cc$")
  foreach(file ${ROOM_EXCLUDE})
    list(REMOVE_ITEM sources "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  endforeach()

  set(targets ${ROOM_DEPENDS})
  list(TRANSFORM targets PREPEND npumoe_)
  add_library(npumoe_${NAME} STATIC ${sources})
  target_include_directories(npumoe_${NAME} PUBLIC "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(npumoe_${NAME} PUBLIC ${targets} ${ROOM_LIBRARIES} Threads::Threads)

  if(NPUMOE_TESTS AND tests)
    npumoe_test(${NAME} ${tests})
    target_link_libraries(${NAME}_test PRIVATE npumoe_${NAME})
    npumoe_selected_test(${NAME} ${tests})
  endif()
  if(NPUMOE_BENCHMARKS AND benches)
    add_executable(${NAME}_bench EXCLUDE_FROM_ALL ${benches})
    target_link_libraries(${NAME}_bench PRIVATE npumoe_${NAME} benchmark::benchmark
                                                benchmark::benchmark_main)
    add_dependencies(benchmarks ${NAME}_bench)
  endif()
endfunction()

# npumoe_test(NAME file...): the program NAME_test, run by ctest as NAME.
function(npumoe_test NAME)
  npumoe_test_program(${NAME}_test ${ARGN})
  add_test(NAME ${NAME} COMMAND ${NAME}_test)
  set_tests_properties(${NAME} PROPERTIES TIMEOUT 900)
  add_dependencies(tests ${NAME}_test)
endfunction()

# npumoe_selected_test(NAME file...): of the files those that NPUMOE_SELECTED_TESTS names.
function(npumoe_selected_test NAME)
  set(selected ${NPUMOE_SELECTED_TESTS})
  list(TRANSFORM selected PREPEND "${PROJECT_SOURCE_DIR}/")
  set(files "")
  foreach(file ${ARGN})
    if(file IN_LIST selected)
      list(APPEND files "${file}")
    endif()
  endforeach()
  if(files)
    npumoe_test_program(${NAME}_selected_test EXCLUDE_FROM_ALL ${files})
    target_link_libraries(${NAME}_selected_test PRIVATE npumoe_${NAME})
  endif()
endfunction()

function(npumoe_test_program NAME)
  add_executable(${NAME} ${ARGN})
  target_compile_definitions(${NAME} PRIVATE NPUMOE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Tests are compiled more often than they run: a quarter less of their compile time.
  target_compile_options(${NAME} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${NAME} PRIVATE GTest::gtest GTest::gtest_main)
endfunction()
