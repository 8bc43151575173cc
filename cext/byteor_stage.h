/* The public header of stages lives where it is installed for users; this line lets native sources include it as their own. */
#include "../byteord/stages/include/byteor_stage.h"
