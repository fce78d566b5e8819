package dev.gatun.engine.cpu;

import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.ScalePixels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SiluBackward;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredErrorBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Which code runs which op on the CPU. A new op is one line here. */
final class CpuOps {
  /** Fixes one kind of op to memory. */
  private interface Form<T extends Op> {
    Launch prepare(CpuDevice device, T op, List<Tensor> in, List<Tensor> out);
  }

  private static final Map<Class<? extends Op>, Form<Op>> FORMS = new HashMap<>();

  static {
    register(Conv2d.class, CpuConvolution::forward);
    register(Conv2dUnit.class, CpuOps::unit);
    register(Conv2dBackwardData.class, CpuConvolution::backwardData);
    register(Conv2dBackwardWeights.class, CpuConvolution::backwardWeights);
    register(Gate.class, CpuElementwise::gate);
    register(GateBackward.class, CpuElementwise::gateBackward);
    register(Relu.class, CpuElementwise::relu);
    register(ReluBackward.class, CpuElementwise::reluBackward);
    register(Add.class, CpuElementwise::add);
    register(Fill.class, CpuElementwise::fill);
    register(Cast.class, CpuElementwise::cast);
    register(Reshape.class, CpuElementwise::reshape);
    register(ScalePixels.class, CpuElementwise::scalePixels);
    register(Elu.class, CpuElu::elu);
    register(EluBackward.class, CpuElu::eluBackward);
    register(ConcatElu.class, CpuElu::concatElu);
    register(ConcatEluBackward.class, CpuElu::concatEluBackward);
    register(Dropout.class, CpuDropout::dropout);
    register(AddBias.class, CpuBias::addBias);
    register(AddBiasBackward.class, CpuBias::addBiasBackward);
    register(WeightNorm.class, CpuWeights::weightNorm);
    register(WeightNormBackward.class, CpuWeights::weightNormBackward);
    register(MaskChannels.class, CpuWeights::maskChannels);
    register(NormalizePixels.class, CpuElementwise::normalizePixels);
    register(SoftmaxCrossEntropy.class, CpuCrossEntropy::crossEntropy);
    register(SoftmaxCrossEntropyBackward.class, CpuCrossEntropy::crossEntropyBackward);
    register(LogisticMixture.class, CpuMixture::forward);
    register(LogisticMixtureBackward.class, CpuMixture::backward);
    register(ImageLikelihood.class, CpuImageLikelihood::forward);
    register(ImageLikelihoodBackward.class, CpuImageLikelihood::backward);
    register(ImportanceBound.class, CpuBounds::importance);
    register(ImportanceBoundBackward.class, CpuBounds::importanceBackward);
    register(IafStep.class, CpuBounds::iafStep);
    register(IafStepBackward.class, CpuBounds::iafStepBackward);
    register(GroupNorm.class, CpuGroupNorm::forward);
    register(GroupNormBackward.class, CpuGroupNorm::backward);
    register(Silu.class, CpuElu::silu);
    register(SiluBackward.class, CpuElu::siluBackward);
    register(FoldUpsampling.class, CpuWeights::foldUpsampling);
    register(FoldUpsamplingBackward.class, CpuWeights::foldUpsamplingBackward);
    register(DiffusionTimes.class, CpuDiffusion::times);
    register(Diffuse.class, CpuDiffusion::diffuse);
    register(SquaredError.class, CpuDiffusion::squaredError);
    register(SquaredErrorBackward.class, CpuDiffusion::squaredErrorBackward);
    register(SinusoidalEmbedding.class, CpuDiffusion::sinusoidalEmbedding);
    register(DenoiseStep.class, CpuDenoiseStep::new);
    register(VariationalBound.class, CpuVariationalBound::forward);
    register(VariationalBoundBackward.class, CpuVariationalBound::backward);
    register(GaussianSample.class, CpuGaussian::sample);
    register(GaussianSampleBackward.class, CpuGaussian::sampleBackward);
    register(GaussianKl.class, CpuGaussian::kl);
    register(GaussianKlBackward.class, CpuGaussian::klBackward);
    register(KlObjective.class, CpuGaussian::objective);
    register(KlObjectiveBackward.class, CpuGaussian::objectiveBackward);
    register(GaussianMixture.class, CpuGaussianMixture::forward);
    register(GaussianMixtureBackward.class, CpuGaussianMixture::backward);
    register(Concat.class, CpuShift::concat);
    register(Split.class, CpuShift::split);
    register(Attention.class, CpuAttention::forward);
    register(AttentionBackward.class, CpuAttention::backward);
    register(Resample.class, CpuResample::resample);
    register(SumPixels.class, CpuBias::sumPixels);
    register(Shift.class, CpuShift::shift);
    register(VectorQuantize.class, CpuVectorQuantize::vectorQuantize);
    register(CodeVectors.class, CpuVectorQuantize::codeVectors);
    register(CodebookSums.class, CpuVectorQuantize::codebookSums);
    register(MovingAverage.class, CpuVectorQuantize::movingAverage);
    register(Codebook.class, CpuVectorQuantize::codebook);
    register(GumbelSoftmax.class, CpuCategorical::gumbelSoftmax);
    register(GumbelSoftmaxBackward.class, CpuCategorical::gumbelSoftmaxBackward);
    register(CategoricalSample.class, CpuCategorical::sample);
    register(CategoricalKl.class, CpuCategorical::kl);
    register(CategoricalKlBackward.class, CpuCategorical::klBackward);
    register(CategoricalLogProbability.class, CpuCategorical::logProbability);
    register(ReverseChannels.class, CpuShift::reverseChannels);
    register(SquaredNorm.class, CpuOptimizer::squaredNorm);
    register(Adam.class, CpuOptimizer::adam);
  }

  private CpuOps() {}

  private static <T extends Op> void register(Class<T> type, Form<T> form) {
    FORMS.put(type, (device, op, in, out) -> form.prepare(device, type.cast(op), in, out));
  }

  /** The two ops that it stands for: what a device that fuses them is held to. */
  private static Launch unit(CpuDevice d, Conv2dUnit op, List<Tensor> in, List<Tensor> out) {
    List<Tensor> conv = op.convInputs(in);
    Owned owned = new Owned();
    try {
      Tensor sums =
          op.keepsSums()
              ? out.get(1)
              : owned.add(
                  Tensor.allocate(
                      d, op.conv().check(conv.stream().map(Tensor::spec).toList()).getFirst()));
      Launch first = owned.add(prepare(d, op.conv(), conv, List.of(sums)));
      Launch second =
          owned.add(prepare(d, op.unit(), op.unitInputs(sums, in), List.of(out.getFirst())));
      return new Launch() {
        @Override
        public void run() {
          first.run();
          second.run();
        }

        @Override
        public void close() {
          owned.close();
        }
      };
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  static boolean supports(Op op) {
    return FORMS.containsKey(op.getClass());
  }

  static Launch prepare(CpuDevice device, Op op, List<Tensor> in, List<Tensor> out) {
    return FORMS.get(op.getClass()).prepare(device, op, in, out);
  }
}
