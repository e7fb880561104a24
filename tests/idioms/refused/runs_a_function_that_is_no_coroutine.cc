// refused: takes a function that returns task<> or
#include <rill/runtime/run.h>

#ifdef ALLOWED
rill::task<int> serve() { co_return 0; }
#else
int serve() { return 0; }
#endif

int start() { return rill::run(serve); }
