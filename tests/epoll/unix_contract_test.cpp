// The contract of Unix sockets, pipes and files (tests/sim/unix_contract_test.cpp), kept by epoll:
// the very same tests, with the epoll kernel in the place of the ring's.
#include <rill/runtime/kernel.h>

// The machine of those tests asks for it by this name.
#define make_uring_kernel make_epoll_kernel
#include "sim/unix_contract_test.cpp"
