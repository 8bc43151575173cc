#include "pair.h"
const candidate byteor_candidates[] = {{NULL, NULL, NULL, NULL}};
