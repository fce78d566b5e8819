package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Sampler;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.IntConsumer;

/**
 * Draws images with a denoising network: a step, the network and what a sampler makes of it, is
 * recorded once and replayed; its number lies on the device. Its state is in f64.
 */
public final class DenoisingSampler implements Sampler {
  /** Images drawn together where there are as many. */
  private static final int BATCH = 64;

  /** The samplers by name. */
  public enum Method {
    /** {@link SamplerSteps#ddim}. */
    DDIM,
    /** {@link SamplerSteps#ddpm}. */
    DDPM,
    /** {@link SamplerSteps#dpmSolver}. */
    DPMPP,
    /** {@link SamplerSteps#heun}. */
    HEUN;

    /** Steps where the user does not say. */
    public int usualSteps() {
      return switch (this) {
        case DDIM -> 50;
        case DDPM -> 250;
        case DPMPP -> 20;
        case HEUN -> 18;
      };
    }

    /** As on the command line. */
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The sampler's steps for a model.
     *
     * @param eta of {@link #DDIM}
     * @throws IllegalArgumentException in one line if the model has no path of so many steps
     */
    public SamplerSteps steps(DenoisingModel model, int steps, double eta) {
      return switch (this) {
        case DDIM -> SamplerSteps.ddim(model.path(steps), eta);
        case DDPM ->
            model.learnedVariance()
                ? SamplerSteps.learned(model.path(steps))
                : SamplerSteps.ddpm(model.path(steps));
        case DPMPP -> SamplerSteps.dpmSolver(model.path(steps));
        case HEUN -> SamplerSteps.heun(model.flowPath(steps));
      };
    }
  }

  /**
   * How to draw.
   *
   * @param name of the sampler
   * @param steps its table
   * @param guidance how far from what the network says without a class to what it says with one: 0
   *     is without, 1 with, above 1 beyond (Ho and Salimans's w + 1)
   * @param thresholding how denoised images are kept to what pixels can be
   */
  public record Settings(
      String name, SamplerSteps steps, double guidance, Thresholding thresholding) {}

  /**
   * What to draw; image k of a seed is the same whatever is drawn beside it.
   *
   * @param labels [count]; null where the model has no classes
   * @param condition [count,H,W,D] u8 as {@link Model#condition} says; null where there is none
   * @param start [count,H,W,C] what x holds at the beginning; null for zeros
   * @param known where part of the images is given; null where none is
   */
  public record Job(
      int count, long seed, byte[] labels, byte[] condition, double[] start, Known known) {
    /** Whole images. */
    public Job(int count, long seed, byte[] labels, byte[] condition, double[] start) {
      this(count, seed, labels, condition, start, null);
    }
  }

  /**
   * Images of which a part is kept.
   *
   * @param images [count,H,W,C] u8
   * @param mask [count,H,W] u8, not 0 where a pixel is kept
   */
  public record Known(byte[] images, byte[] mask) {}

  /** Hears of the steps. */
  @FunctionalInterface
  public interface Listener {
    /** Once after each run of the network. */
    void after(Step step);
  }

  /** A step that is done, of images that are drawn together. */
  public interface Step {
    /** Of this step, from 1 on. */
    int number();

    /** Steps in all. */
    int of();

    /** Number of the first of the images. */
    int first();

    /** How many images. */
    int count();

    /** The images with what noise they still have, drawn together to fit, [count,H,W,C] u8. */
    byte[] noisy();

    /** What the network took for the images, [count,H,W,C] u8. */
    byte[] denoised();
  }

  private final Owned owned = new Owned();
  private final DenoisingModel model;
  private final Settings settings;
  private final Model.ImageShape shape;
  private final int batch;
  private final int network; // images it is run on: twice as many where it is guided
  private final Tensor x;
  private final Tensor previous;
  private final Tensor state;
  private final Tensor labels;
  private final Tensor known;
  private final Tensor mask;
  private final Tensor condition; // or null
  private final Program first;
  private final Program step;

  /**
   * Prepares the step.
   *
   * @param weights of the network, read at each step
   * @param batch images drawn together
   * @throws IllegalArgumentException in one line if the model cannot be guided
   */
  public DenoisingSampler(
      Device device,
      DenoisingModel model,
      Parameters weights,
      Settings settings,
      DType type,
      int batch) {
    this.model = model;
    this.settings = settings;
    this.batch = batch;
    shape = model.imageShape();
    DenoiseStep denoise =
        new DenoiseStep(settings.thresholding, settings.guidance, model.learnedVariance());
    if (denoise.guided() && model.labelDropout() == 0) {
      throw new IllegalArgumentException(
          "guidance needs a network that also draws without a class: train one with classes and"
              + " labelDropout above 0");
    }
    network = denoise.guided() ? 2 * batch : batch;
    try {
      x = owned.add(tensor(device, DType.F64, batch, shape.channels()));
      previous = owned.add(tensor(device, DType.F64, batch, shape.channels()));
      state = owned.add(Tensor.allocate(device, DType.I32, 4));
      labels = owned.add(Tensor.allocate(device, DType.U8, network));
      known = owned.add(tensor(device, DType.U8, batch, shape.channels()));
      mask = owned.add(tensor(device, DType.U8, batch, 1));
      int shown = model.condition().channels(shape);
      condition = shown == 0 ? null : owned.add(tensor(device, DType.U8, network, shown));
      Tensor input = owned.add(tensor(device, type, network, shape.channels()));
      Tensor times = owned.add(Tensor.allocate(device, DType.F32, network));
      double[] rows = settings.steps.table();
      Tensor table =
          owned.add(
              Tensor.allocate(
                  device,
                  TensorSpec.of(
                      DType.F64, rows.length / DenoiseStep.COLUMNS, DenoiseStep.COLUMNS)));
      table.writeDoubles(rows);

      Graph begin = new Graph();
      int says = shape.channels() * (model.learnedVariance() ? 2 : 1);
      Tensor nothing = owned.add(tensor(device, type, network, says));
      denoise(begin, denoise, begin.bind(nothing), table, input, times);
      first = owned.add(begin.compile(device));

      Graph graph = new Graph();
      Model.Input in =
          new Model.Input(
              null,
              graph.bind(labels),
              condition == null ? null : graph.bind(condition),
              type,
              null);
      Value said =
          model.network(
              graph,
              name -> graph.bind(weights.get(name)),
              graph.bind(input),
              graph.bind(times),
              in);
      denoise(graph, denoise, said, table, input, times);
      step = owned.add(graph.compile(device));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /** With a number of images drawn together that suits a device. */
  public DenoisingSampler(
      Device device, DenoisingModel model, Parameters weights, Settings settings, DType type) {
    this(device, model, weights, settings, type, BATCH);
  }

  private Tensor tensor(Device device, DType type, int count, int channels) {
    return Tensor.allocate(device, type, count, shape.height(), shape.width(), channels);
  }

  private void denoise(
      Graph graph, DenoiseStep denoise, Value said, Tensor table, Tensor input, Tensor times) {
    List<Value> next =
        graph.apply(
            denoise,
            List.of(
                graph.bind(x),
                graph.bind(previous),
                said,
                graph.bind(table),
                graph.bind(state),
                graph.bind(known),
                graph.bind(mask)));
    graph.store(next.get(0), input);
    graph.store(next.get(1), times);
  }

  @Override
  public String name() {
    return settings.name;
  }

  /** Runs of the network. */
  @Override
  public long work(int count) {
    return (long) Math.ceilDiv(count, batch) * settings.steps.evaluations();
  }

  @Override
  public byte[] sample(Request request, IntConsumer progress) {
    int evaluations = settings.steps.evaluations();
    return pixels(
        run(
            job(request),
            done -> progress.accept(done.first() / batch * evaluations + done.number())));
  }

  /**
   * What a request asks for.
   *
   * @throws IllegalArgumentException in one line if the model cannot draw that
   */
  public Job job(Request request) {
    request.requireFits(model);
    if (request.temperature() != 1) {
      throw new IllegalArgumentException(
          "temperature " + request.temperature() + ": " + model.name() + " has none");
    }
    byte[] given = null;
    if (model.classes() > 0) {
      given = new byte[request.count()];
      for (int i = 0; i < given.length; i++) {
        given[i] = request.label(i, model.classes());
      }
    }
    Known rows = request.givenRows() == 0 ? null : upperRows(request);
    return new Job(request.count(), request.seed(), given, null, null, rows);
  }

  private Known upperRows(Request request) {
    byte[] mask = new byte[request.count() * shape.height() * shape.width()];
    int kept = request.givenRows() * shape.width();
    for (int at = 0; at < mask.length; at += shape.height() * shape.width()) {
      Arrays.fill(mask, at, at + kept, (byte) 1);
    }
    return new Known(request.given(), mask);
  }

  /**
   * Runs the steps.
   *
   * @return [count,H,W,C] x at the end
   * @throws IllegalArgumentException in one line if the job does not fit the model
   */
  public double[] run(Job job, Listener listener) {
    requireFits(job);
    int size = shape.dimensions();
    double[] all = new double[job.count * size];
    for (int from = 0; from < job.count; from += batch) {
      int some = Math.min(batch, job.count - from);
      write(job, from, some);
      first.run();
      for (int i = 1; i <= settings.steps.evaluations(); i++) {
        step.run();
        listener.after(new Done(i, from, some));
      }
      System.arraycopy(x.toDoubles(), 0, all, from * size, some * size);
    }
    return all;
  }

  private void write(Job job, int from, int some) {
    int size = shape.dimensions();
    if (job.labels != null) {
      byte[] own = new byte[network];
      System.arraycopy(job.labels, from, own, 0, some);
      Arrays.fill(own, batch, network, (byte) model.classes()); // those without a class
      labels.write(own);
    }
    if (condition != null) {
      int shown = condition.elements() / network;
      byte[] own = new byte[network * shown];
      for (int at = 0; at < network; at += batch) {
        System.arraycopy(job.condition, from * shown, own, at * shown, some * shown);
      }
      condition.write(own);
    }
    byte[] keep = new byte[batch * shape.height() * shape.width()];
    if (job.known != null) {
      byte[] own = new byte[batch * size];
      System.arraycopy(job.known.images, from * size, own, 0, some * size);
      known.write(own);
      int pixels = keep.length / batch;
      System.arraycopy(job.known.mask, from * pixels, keep, 0, some * pixels);
    }
    mask.write(keep);
    double[] start = new double[batch * size];
    if (job.start != null) {
      System.arraycopy(job.start, from * size, start, 0, some * size);
    }
    x.writeDoubles(start);
    previous.writeDoubles(new double[batch * size]);
    state.writeDoubles(new double[] {(int) job.seed, (int) (job.seed >> 32), from, 0});
  }

  private final class Done implements Step {
    private final int number;
    private final int from;
    private final int some;

    Done(int number, int from, int some) {
      this.number = number;
      this.from = from;
      this.some = some;
    }

    @Override
    public int number() {
      return number;
    }

    @Override
    public int of() {
      return settings.steps.evaluations();
    }

    @Override
    public int first() {
      return from;
    }

    @Override
    public int count() {
      return some;
    }

    @Override
    public byte[] noisy() {
      double[] now = x.toDoubles();
      double spread = settings.steps.spread(number);
      Arrays.setAll(now, i -> now[i] / spread);
      return Arrays.copyOf(pixels(now), some * shape.dimensions());
    }

    @Override
    public byte[] denoised() {
      return Arrays.copyOf(pixels(previous.toDoubles()), some * shape.dimensions());
    }
  }

  private void requireFits(Job job) {
    int count = job.count;
    int classes = model.classes();
    if ((classes > 0) != (job.labels != null) || job.labels != null && job.labels.length != count) {
      throw new IllegalArgumentException(
          classes > 0
              ? count + " images of a network with classes need as many labels"
              : "this network has no classes: leave the labels out");
    }
    for (int i = 0; job.labels != null && i < count; i++) {
      int label = Byte.toUnsignedInt(job.labels[i]);
      if (label >= classes) {
        throw new IllegalArgumentException(
            "label " + label + " of image " + i + ": there are " + classes + " classes");
      }
    }
    int shown = model.condition().channels(shape) * shape.height() * shape.width() * count;
    if (shown != (job.condition == null ? 0 : job.condition.length)) {
      throw new IllegalArgumentException(
          shown == 0
              ? "this network is shown no image: leave it out"
              : "this network draws by an image that it is shown ("
                  + model.condition().name().toLowerCase(Locale.ROOT)
                  + "): give one for each of "
                  + count);
    }
    int pixels = count * shape.height() * shape.width();
    if (job.known != null
        && (job.known.images.length != pixels * shape.channels()
            || job.known.mask.length != pixels)) {
      throw new IllegalArgumentException(
          "what is known must be " + count + " images of " + shape + " and as many masks");
    }
    if (job.start != null && job.start.length != count * shape.dimensions()) {
      throw new IllegalArgumentException("what to begin with must be " + count + " of " + shape);
    }
  }

  /** The nearest of the 256 levels between -1 and 1. */
  public static byte[] pixels(double[] x) {
    byte[] pixels = new byte[x.length];
    for (int i = 0; i < x.length; i++) {
      pixels[i] = (byte) Math.clamp(Math.round((x[i] + 1) * 127.5), 0, 255);
    }
    return pixels;
  }

  @Override
  public void close() {
    owned.close();
  }
}
