package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Together;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Sampler;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.IntConsumer;

/**
 * Draws images with a denoising network: a step, the network and what a sampler makes of it, is
 * recorded once and replayed; its number lies on the device. Its state is in f64. Where a device
 * divides into lanes each draws its share of the images.
 */
public final class DenoisingSampler implements Sampler {
  /** The most images that are drawn together. */
  private static final int BATCH = 64;

  /** Images that a lane is worth having for. */
  private static final int LEAST_SHARE = 4;

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

    /** Steps where the user does not say; all that the model has, where those are fewer. */
    public int usualSteps(DenoisingModel model) {
      int usual =
          switch (this) {
            case DDIM -> 50;
            case DDPM -> 250;
            case DPMPP -> 20;
            case HEUN -> 18;
          };
      return Math.min(usual, model.mostSteps());
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
   * What to draw. Image k of a seed has the same noise whatever is drawn beside it, and is the same
   * but for rounding: the network may add up in another order where it is given more images, or
   * fewer.
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

  private final Device device;
  private final DenoisingModel model;
  private final Parameters weights;
  private final Settings settings;
  private final DType type;
  private final Model.ImageShape shape;
  private final DenoiseStep denoise;
  private final int most;
  private Recorded recorded; // for as many images as were drawn together last; or null

  /**
   * Looks at what is asked for; the step is recorded when it is known how many images are drawn.
   *
   * @param weights of the network, read at each step
   * @param most images that are drawn together
   * @throws IllegalArgumentException in one line if the model cannot be guided
   */
  public DenoisingSampler(
      Device device,
      DenoisingModel model,
      Parameters weights,
      Settings settings,
      DType type,
      int most) {
    this.device = device;
    this.model = model;
    this.weights = weights;
    this.settings = settings;
    this.type = type;
    this.most = most;
    shape = model.imageShape();
    denoise = new DenoiseStep(settings.thresholding, settings.guidance, model.learnedVariance());
    if (denoise.guided() && model.labelDropout() == 0) {
      throw new IllegalArgumentException(
          "guidance needs a network that also draws without a class: train one with classes and"
              + " labelDropout above 0");
    }
  }

  /** With a number of images drawn together that suits a device. */
  public DenoisingSampler(
      Device device, DenoisingModel model, Parameters weights, Settings settings, DType type) {
    this(device, model, weights, settings, type, BATCH);
  }

  /** The step for some images, on a lane of the device, and the memory it works on. */
  private final class Share implements AutoCloseable {
    private final Owned owned = new Owned();
    final int offset; // of the first among those that are drawn together
    final int batch;
    final int network; // images it is run on: twice as many where it is guided
    final Tensor x;
    final Tensor previous;
    final Tensor state;
    final Tensor labels;
    final Tensor known;
    final Tensor mask;
    final Tensor condition; // or null
    final Program first;
    final Program step;

    Share(Device lane, int offset, int batch) {
      this.offset = offset;
      this.batch = batch;
      network = denoise.guided() ? 2 * batch : batch;
      try {
        x = owned.add(tensor(DType.F64, batch, shape.channels()));
        previous = owned.add(tensor(DType.F64, batch, shape.channels()));
        state = owned.add(Tensor.allocate(device, DType.I32, 4));
        labels = owned.add(Tensor.allocate(device, DType.U8, network));
        known = owned.add(tensor(DType.U8, batch, shape.channels()));
        mask = owned.add(tensor(DType.U8, batch, 1));
        int shown = model.condition().channels(shape);
        condition = shown == 0 ? null : owned.add(tensor(DType.U8, network, shown));
        Tensor input = owned.add(tensor(type, network, shape.channels()));
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
        Tensor nothing = owned.add(tensor(type, network, says));
        denoise(begin, begin.bind(nothing), table, input, times);
        first = owned.add(begin.compile(lane));

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
        denoise(graph, said, table, input, times);
        step = owned.add(graph.compile(lane));
      } catch (RuntimeException | Error e) {
        owned.close();
        throw e;
      }
    }

    private Tensor tensor(DType type, int count, int channels) {
      return Tensor.allocate(device, type, count, shape.height(), shape.width(), channels);
    }

    private void denoise(Graph graph, Value said, Tensor table, Tensor input, Tensor times) {
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
    public void close() {
      owned.close();
    }
  }

  /** The step for so many images, divided among lanes. */
  private final class Recorded implements AutoCloseable {
    private final Owned owned = new Owned();
    final int batch;
    final List<Share> shares = new ArrayList<>();

    Recorded(int batch) {
      this.batch = batch;
      try {
        List<Device> lanes = device.divide(batch / LEAST_SHARE);
        lanes.forEach(owned::add);
        if (lanes.isEmpty()) {
          lanes = List.of(device);
        }
        for (int i = 0; i < lanes.size(); i++) {
          int from = batch * i / lanes.size();
          int to = batch * (i + 1) / lanes.size();
          shares.add(owned.add(new Share(lanes.get(i), from, to - from)));
        }
      } catch (RuntimeException | Error e) {
        owned.close();
        throw e;
      }
    }

    void begin() {
      Together.run(shares.stream().<Runnable>map(share -> share.first::run).toList());
    }

    void step() {
      Together.run(shares.stream().<Runnable>map(share -> share.step::run).toList());
    }

    /** A tensor of all shares, one after another. */
    double[] all(Function<Share, Tensor> tensor) {
      double[] all = new double[batch * shape.dimensions()];
      for (Share share : shares) {
        double[] own = tensor.apply(share).toDoubles();
        System.arraycopy(own, 0, all, share.offset * shape.dimensions(), own.length);
      }
      return all;
    }

    @Override
    public void close() {
      owned.close();
    }
  }

  /** The step for a job, recorded if the last one was for another number of images. */
  private Recorded recorded(int count) {
    int batch = together(count);
    if (recorded == null || recorded.batch != batch) {
      close();
      recorded = new Recorded(batch);
    }
    return recorded;
  }

  private int together(int count) {
    return Math.clamp(count, 1, most);
  }

  @Override
  public String name() {
    return settings.name;
  }

  /** Runs of the network. */
  @Override
  public long work(int count) {
    return (long) Math.ceilDiv(count, together(count)) * settings.steps.evaluations();
  }

  @Override
  public byte[] sample(Request request, IntConsumer progress) {
    int[] done = {0};
    return pixels(run(job(request), step -> progress.accept(++done[0])));
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
    Recorded on = recorded(job.count);
    for (int from = 0; from < job.count; from += on.batch) {
      int some = Math.min(on.batch, job.count - from);
      for (Share share : on.shares) {
        int first = Math.min(job.count, from + share.offset);
        write(job, first, Math.min(share.batch, job.count - first), share);
      }
      on.begin();
      for (int i = 1; i <= settings.steps.evaluations(); i++) {
        on.step();
        listener.after(new Done(on, i, from, some));
      }
      System.arraycopy(on.all(share -> share.x), 0, all, from * size, some * size);
    }
    return all;
  }

  private void write(Job job, int from, int some, Share on) {
    int size = shape.dimensions();
    if (job.labels != null) {
      byte[] own = new byte[on.network];
      System.arraycopy(job.labels, from, own, 0, some);
      Arrays.fill(own, on.batch, on.network, (byte) model.classes()); // those without a class
      on.labels.write(own);
    }
    if (on.condition != null) {
      int shown = on.condition.elements() / on.network;
      byte[] own = new byte[on.network * shown];
      for (int at = 0; at < on.network; at += on.batch) {
        System.arraycopy(job.condition, from * shown, own, at * shown, some * shown);
      }
      on.condition.write(own);
    }
    byte[] keep = new byte[on.batch * shape.height() * shape.width()];
    if (job.known != null) {
      byte[] own = new byte[on.batch * size];
      System.arraycopy(job.known.images, from * size, own, 0, some * size);
      on.known.write(own);
      int pixels = keep.length / on.batch;
      System.arraycopy(job.known.mask, from * pixels, keep, 0, some * pixels);
    }
    on.mask.write(keep);
    double[] start = new double[on.batch * size];
    if (job.start != null) {
      System.arraycopy(job.start, from * size, start, 0, some * size);
    }
    on.x.writeDoubles(start);
    on.previous.writeDoubles(new double[on.batch * size]);
    on.state.writeDoubles(new double[] {(int) job.seed, (int) (job.seed >> 32), from, 0});
  }

  private final class Done implements Step {
    private final Recorded on;
    private final int number;
    private final int from;
    private final int some;

    Done(Recorded on, int number, int from, int some) {
      this.on = on;
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
      double[] now = on.all(share -> share.x);
      double spread = settings.steps.spread(number);
      Arrays.setAll(now, i -> now[i] / spread);
      return Arrays.copyOf(pixels(now), some * shape.dimensions());
    }

    @Override
    public byte[] denoised() {
      return Arrays.copyOf(pixels(on.all(share -> share.previous)), some * shape.dimensions());
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
    if (recorded != null) {
      recorded.close();
      recorded = null;
    }
  }
}
