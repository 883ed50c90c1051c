# Who may use whom. A folder names only folders above it in this list, so the house has floors and
# no stairs back up. The list is the architecture: change it in docs/architecture.md first. CMake
# holds link dependencies against it; tools/tidy.py reads the same lines and holds every #include.
set(CONCLAVE_MAY_common)
set(CONCLAVE_MAY_kernels common)
set(CONCLAVE_MAY_model common kernels)
set(CONCLAVE_MAY_experts common kernels model)
set(CONCLAVE_MAY_router common kernels model)
set(CONCLAVE_MAY_router_shm common kernels model router)
set(CONCLAVE_MAY_router_wire common kernels model router proto)
set(CONCLAVE_MAY_attention common kernels model router)
set(CONCLAVE_MAY_gateway common model router)
set(CONCLAVE_MAY_server common kernels model router gateway proto router_shm router_wire)
set(CONCLAVE_MAY_launch common proto)
set(CONCLAVE_MAY_services common kernels model experts router attention gateway proto router_shm
  router_wire)
set(CONCLAVE_MAY_expert_server_lib common kernels model experts router gateway router_shm
  router_wire)

# conclave_library(NAME SRCS a.cc b.cc DEPS common model LINKS absl::status)
#   DEPS   folders of ours, out of CONCLAVE_MAY_<NAME>
#   LINKS  libraries of others
function(conclave_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;LINKS" ${ARGN})
  foreach(dep IN LISTS ARG_DEPS)
    if(NOT dep IN_LIST CONCLAVE_MAY_${name})
      message(FATAL_ERROR "${name}/ may not use ${dep}/ (cmake/floors.cmake)")
    endif()
  endforeach()
  add_library(${name} STATIC ${ARG_SRCS})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} ${ARG_LINKS})
  target_compile_options(${name} PRIVATE ${CONCLAVE_WARNINGS})
endfunction()

# conclave_test(NAME SRCS a_test.cc DEPS common LINKS ...): one GoogleTest binary, its tests listed
# to CTest one by one, with SERIAL while no other runs. Tests may use every floor. They find their
# data through CONCLAVE_SOURCE_DIR.
function(conclave_test name)
  cmake_parse_arguments(ARG "SERIAL" "" "SRCS;DEPS;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LINKS} GTest::gtest GTest::gtest_main)
  target_compile_options(${name} PRIVATE ${CONCLAVE_WARNINGS})
  target_compile_definitions(${name} PRIVATE CONCLAVE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 120
                       PROPERTIES TIMEOUT 600 RUN_SERIAL ${ARG_SERIAL})
endfunction()

# conclave_fuzz(NAME SRCS x_fuzz.cc DEPS model): a libFuzzer target; only with clang and
# CONCLAVE_FUZZ.
function(conclave_fuzz name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  if(NOT CONCLAVE_FUZZ)
    return()
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzz_targets ${name})
endfunction()
