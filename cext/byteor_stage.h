/* The public header of stages lives where it is installed for users; native sources include it
 * from there by this line. */
#include "../byteord/stages/include/byteor_stage.h"
