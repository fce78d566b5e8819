// fibre.h - stacks and the context switch.
#ifndef GATUN_FIBRE_H_
#define GATUN_FIBRE_H_

#include <cstddef>
#include <cstdint>

namespace gatun {

struct Fibre {
  void* sp;         // where the fibre stopped
  char* stack;      // lowest usable byte
  Fibre* nextIdle;  // in the idle list
  bool guarded;     // a PROT_NONE page lies below the stack
  unsigned shift;   // bytes that the first frame lies below the top
};

// Saves the callee-saved registers and the stack pointer in *save, goes on at load.
extern "C" void gatun_fibre_switch(void** save, void* load);
// The second half of the switch: a fault handler jumps here with rsp at a saved stack pointer.
extern "C" void gatun_fibre_resume();

size_t stackBytes();
/** An idle fibre that starts in entry() when switched to, or null when memory is out. */
Fibre* takeFibre();
void idleFibre(Fibre* fibre);
/** After a fault: every fibre is taken back and starts anew. */
void resetFibres();
/** True when the bottom of an unguarded stack was overwritten. */
bool stackSmashed(const Fibre* fibre);
/** The fibre whose guard page holds the address, or null. */
const Fibre* guardOwner(uintptr_t address);
void setFibreEntry(void (*entry)());

}  // namespace gatun

#endif
