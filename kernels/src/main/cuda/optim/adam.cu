/* adam.cu - one step of Adam over a flat arena: clipping, warm-up, decay, moving average, in one pass.
 * g' = g * min(1, clipNorm / norm); m = b1*m + (1-b1)*g'; v = b2*v + (1-b2)*g'^2;
 * p -= rate * m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps); e += (1-d) * (p - e)   Kingma & Ba 2015, algorithm 1
 * with rate = learningRate * min(1, t/warmup) * decay^t and d = min(emaDecay, t/(t+10)).
 * p, m, v, e, g [n] f32; state [1] f64: t-1 before, t after; squaredNorm [1] f64; blocks [1] u32, zero
 * between launches. The last block to end counts the step, when all have read it. Where the gradients
 * come of data that was refused nothing changes.
 * Work: 5 reads + 4 writes of n; memory bound. Arch sm_80+; emulator yes.
 */
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 256

struct AdamRates {
  double learningRate, beta1, beta2, epsilon, warmupSteps, decay, clipNorm, emaDecay;
};

struct AdamStep {
  float rate, beta1, rest1, beta2, rest2, correction2, epsilon, clip, average;
};

extern "C" __global__ void __launch_bounds__(THREADS)
    adam_f32(float* RESTRICT p, float* RESTRICT m, float* RESTRICT v, float* RESTRICT e,
             double* RESTRICT state, const float* RESTRICT g, const double* RESTRICT squaredNorm,
             unsigned* RESTRICT blocks, const Refusal* RESTRICT refusal, long long n, AdamRates r) {
  if (refusal->kind != 0) return;
  SHARED(AdamStep, shared, [1]);
  if (threadIdx.x == 0) {
    // in f64, once a block: 1 - 0.999 loses four digits in f32
    const double t = *state + 1.0;
    const double norm = sqrt(*squaredNorm);
    const double warm = r.warmupSteps > 0.0 && t < r.warmupSteps ? t / r.warmupSteps : 1.0;
    const double ema = t / (t + 10.0);
    AdamStep& s = shared[0];
    s.rate = (float)(r.learningRate * warm * pow(r.decay, t) / (1.0 - pow(r.beta1, t)));
    s.beta1 = (float)r.beta1;
    s.rest1 = (float)(1.0 - r.beta1);
    s.beta2 = (float)r.beta2;
    s.rest2 = (float)(1.0 - r.beta2);
    s.correction2 = (float)(1.0 / (1.0 - pow(r.beta2, t)));
    s.epsilon = (float)r.epsilon;
    s.clip = (float)(norm > r.clipNorm ? r.clipNorm / norm : 1.0);
    s.average = (float)(1.0 - (ema < r.emaDecay ? ema : r.emaDecay));
  }
  __syncthreads();
  const AdamStep s = shared[0];
  constexpr int N = Chunk<float>::N;
  const long long at = ((long long)blockIdx.x * THREADS + threadIdx.x) * N;
  if (at < n) {
    const int own = n - at < N ? (int)(n - at) : N;
    Chunk<float> cp, cm, cv, ce, cg;
    cp.load(p + at, own);
    cm.load(m + at, own);
    cv.load(v + at, own);
    ce.load(e + at, own);
    cg.load(g + at, own);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float slope = cg.v[i] * s.clip;
      cm.v[i] = s.beta1 * cm.v[i] + s.rest1 * slope;
      cv.v[i] = s.beta2 * cv.v[i] + s.rest2 * slope * slope;
      cp.v[i] -= s.rate * cm.v[i] / (sqrtf(cv.v[i] * s.correction2) + s.epsilon);
      ce.v[i] += s.average * (cp.v[i] - ce.v[i]);
    }
    cp.store(p + at, own);
    cm.store(m + at, own);
    cv.store(v + at, own);
    ce.store(e + at, own);
  }
  if (threadIdx.x == 0) {
    __threadfence();
    if (atomicAdd(blocks, 1u) == gridDim.x - 1) {
      *blocks = 0u;
      *state += 1.0;
    }
  }
}
KERNEL(adam_f32, THREADS)
