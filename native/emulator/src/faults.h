// faults.h - turns signals in a kernel into faults, and stops kernels that never end.
#ifndef GATUN_FAULTS_H_
#define GATUN_FAULTS_H_

#include <cstdint>

namespace gatun {

// What the signal handler saw; read by the scheduler once it is back on its own stack.
struct SignalFault {
  int signal = 0;  // 0: none; kWatchdog: stopped by the watchdog
  int code = 0;
  uintptr_t address = 0;
  bool write = false;
  bool execute = false;
};
constexpr int kWatchdog = -1;

// State shared by the scheduler and the handlers; one kernel runs at a time.
struct KernelRun {
  void* schedulerSp = nullptr;           // where a faulting fibre's thread goes on
  uintptr_t schedulerFrame = 0;          // the scheduler's own stack lies below this
  volatile bool inFibre = false;         // kernel code or the runtime on a fibre's stack
  volatile bool critical = false;        // the runtime is changing what outlives the kernel
  volatile bool expired = false;         // the watchdog fired where it could not stop the fibre
  SignalFault fault;
};
extern KernelRun kernelRun;

/** Installs the handlers once, chaining to those before. */
void installHandlers();

/** Around a kernel on this thread: an alternate signal stack, and the watchdog's clock. */
class KernelScope {
 public:
  KernelScope();
  ~KernelScope();
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  char oldStack_[32];
};

void setWatchdogMillis(long long millis);
long long watchdogMillis();

}  // namespace gatun

#endif
