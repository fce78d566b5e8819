#include "faults.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "fibre.h"

namespace gatun {

KernelRun kernelRun;

namespace {

constexpr size_t kAltStackBytes = 256 * 1024;  // HotSpot's handler may run on it too

// Initial-exec: the handler must not allocate thread-local storage.
__attribute__((tls_model("initial-exec"))) thread_local bool runsKernel = false;
thread_local pid_t threadNumber = 0;

const int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
struct sigaction previous[NSIG];
int watchdogSignal;

struct Watchdog {
  std::atomic<long long> millis{60000};
  std::atomic<uint64_t> generation{0};  // odd while a kernel runs
  std::atomic<long long> startNanos{0};
  std::atomic<pid_t> runner{0};
  std::atomic<bool> asleep{false};
  std::atomic<uint64_t> expired{0};  // the generation to stop
  bool started = false;
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
};
Watchdog& watchdog() {
  static Watchdog* w = new Watchdog();
  return *w;
}

long long nowNanos() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// Makes the interrupted fibre's thread go on in the scheduler, as if the fibre had switched back.
void leaveFibre(ucontext_t* context) {
  greg_t* regs = context->uc_mcontext.gregs;
  regs[REG_RSP] = reinterpret_cast<greg_t>(kernelRun.schedulerSp);
  regs[REG_RIP] = reinterpret_cast<greg_t>(&gatun_fibre_resume);
  regs[REG_EFL] &= ~0x500ll;  // direction and trap flags
  kernelRun.inFibre = false;
}

void chain(int signal, siginfo_t* info, void* context) {
  const struct sigaction& old = previous[signal];
  if (old.sa_flags & SA_SIGINFO) {
    old.sa_sigaction(signal, info, context);
  } else if (old.sa_handler == SIG_DFL) {
    // Back to the default action: the instruction faults again and ends the process as before.
    struct sigaction restored = old;
    sigaction(signal, &restored, nullptr);
    if (info->si_code <= 0) raise(signal);
  } else if (old.sa_handler != SIG_IGN) {
    old.sa_handler(signal);
  }
}

void onFault(int signal, siginfo_t* info, void* raw) {
  bool sent = info->si_code <= 0;  // by kill(), not by an instruction
  if (!runsKernel || !kernelRun.inFibre || sent) {
    chain(signal, info, raw);
    return;
  }
  auto* context = static_cast<ucontext_t*>(raw);
  SignalFault& fault = kernelRun.fault;
  fault.signal = signal;
  fault.code = info->si_code;
  fault.address = reinterpret_cast<uintptr_t>(info->si_addr);
  fault.write = (context->uc_mcontext.gregs[REG_ERR] & 2) != 0;
  fault.execute = (context->uc_mcontext.gregs[REG_ERR] & 16) != 0;
  leaveFibre(context);
}

void onWatchdog(int, siginfo_t*, void* raw) {
  Watchdog& w = watchdog();
  if (!runsKernel || w.expired.load() != w.generation.load()) return;  // that kernel ended meanwhile
  auto* context = static_cast<ucontext_t*>(raw);
  uintptr_t sp = uintptr_t(context->uc_mcontext.gregs[REG_RSP]);
  bool onScheduler = sp <= kernelRun.schedulerFrame && kernelRun.schedulerFrame - sp < 65536;
  if (!kernelRun.inFibre || kernelRun.critical || onScheduler) {
    kernelRun.expired = true;  // the next signal, 10 ms on, finds the fibre again
    return;
  }
  kernelRun.fault.signal = kWatchdog;
  leaveFibre(context);
}

void* watch(void*) {
  Watchdog& w = watchdog();
  int idlePolls = 0;
  for (;;) {
    uint64_t generation = w.generation.load();
    if (generation & 1) {
      idlePolls = 0;
      long long limit = w.millis.load();
      if (limit > 0 && nowNanos() - w.startNanos.load() > limit * 1000000ll) {
        w.expired.store(generation);
        syscall(SYS_tgkill, getpid(), w.runner.load(), watchdogSignal);
      }
    } else if (++idlePolls > 20) {
      pthread_mutex_lock(&w.mutex);
      w.asleep.store(true);
      if (!(w.generation.load() & 1)) pthread_cond_wait(&w.wake, &w.mutex);
      w.asleep.store(false);
      pthread_mutex_unlock(&w.mutex);
      idlePolls = 0;
      continue;
    }
    timespec pause{0, 10 * 1000 * 1000};
    nanosleep(&pause, nullptr);
  }
  return nullptr;
}

void startWatchdog(Watchdog& w) {
  if (w.started) return;
  w.started = true;
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 128 * 1024);
  pthread_t thread;
  pthread_create(&thread, &attributes, watch, nullptr);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

void* altStack() {
  static void* stack = mmap(nullptr, kAltStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return stack;
}

}  // namespace

void installHandlers() {
  static bool installed = false;
  if (installed) return;
  installed = true;
  for (int signal : kSignals) {
    sigaction(signal, nullptr, &previous[signal]);
    struct sigaction mine = previous[signal];
    mine.sa_flags = (mine.sa_flags | SA_SIGINFO | SA_ONSTACK) & ~SA_RESETHAND;
    mine.sa_sigaction = onFault;
    sigaction(signal, &mine, nullptr);
  }
  watchdogSignal = SIGRTMIN + 11;
  struct sigaction mine;
  memset(&mine, 0, sizeof mine);
  sigemptyset(&mine.sa_mask);
  mine.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  mine.sa_sigaction = onWatchdog;
  sigaction(watchdogSignal, &mine, nullptr);
  if (const char* millis = getenv("GATUN_EMU_WATCHDOG_MS")) setWatchdogMillis(atoll(millis));
}

KernelScope::KernelScope() {
  static_assert(sizeof(stack_t) <= sizeof oldStack_);
  stack_t mine;
  memset(&mine, 0, sizeof mine);
  mine.ss_sp = altStack();
  mine.ss_size = kAltStackBytes;
  stack_t old;
  sigaltstack(&mine, &old);
  memcpy(oldStack_, &old, sizeof old);
  Watchdog& w = watchdog();
  startWatchdog(w);
  kernelRun.fault = SignalFault();
  kernelRun.expired = false;
  kernelRun.critical = false;
  kernelRun.inFibre = false;
  w.startNanos.store(nowNanos());
  if (threadNumber == 0) threadNumber = pid_t(syscall(SYS_gettid));
  w.runner.store(threadNumber);
  runsKernel = true;
  w.generation.fetch_add(1);
  if (w.asleep.load()) {
    pthread_mutex_lock(&w.mutex);
    pthread_cond_signal(&w.wake);
    pthread_mutex_unlock(&w.mutex);
  }
}

KernelScope::~KernelScope() {
  watchdog().generation.fetch_add(1);
  runsKernel = false;
  stack_t old;
  memcpy(&old, oldStack_, sizeof old);
  sigaltstack(&old, nullptr);
}

void setWatchdogMillis(long long millis) { watchdog().millis.store(millis); }
long long watchdogMillis() { return watchdog().millis.load(); }

}  // namespace gatun
