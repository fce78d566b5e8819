#include "check.h"
void pools() {}
