import com.lmax.disruptor.BatchEventProcessor;
import com.lmax.disruptor.BatchEventProcessorBuilder;
import com.lmax.disruptor.BusySpinWaitStrategy;
import com.lmax.disruptor.EventHandler;
import com.lmax.disruptor.RingBuffer;
import com.lmax.disruptor.Sequence;
import com.lmax.disruptor.WaitStrategy;
import com.lmax.disruptor.YieldingWaitStrategy;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;

/**
 * The LMAX Disruptor in the bench's shapes, as a small server: one line in (`SHAPE MS`), one line of `key=value` out.
 *
 * Events carry the same six words as every other candidate. The threads live as long as the program, so that the runner can
 * pin them by name (bench-0, bench-1, ...), and block between samples.
 */
public final class DisruptorBench {
    private static final int WORDS = 6;
    private static final int CHUNK = 1024;
    private static final int BATCH = 16;
    private static final long END = -1L;
    private static final int THREADS = 9;
    private static final int MANY_CAPACITY = 4096;
    private static final Lane[] LANES = new Lane[THREADS];

    static {
        for (int i = 0; i < THREADS; i++) LANES[i] = new Lane(i);
    }

    /** One message: the payload of the other candidates, as fields. */
    public static final class Event {
        long w0, w1, w2, w3, w4, w5;

        void fill(long sequence) { fill(sequence, 0); }

        void fill(long sequence, long producer) {
            w0 = sequence; w1 = producer; w2 = sequence; w3 = sequence; w4 = sequence; w5 = ~sequence;
        }
    }

    /** A thread that runs what it is given and blocks in between. */
    private static final class Lane {
        private final SynchronousQueue<Runnable> inbox = new SynchronousQueue<>();

        Lane(int index) {
            Thread thread = new Thread(this::loop, "bench-" + index);
            thread.setDaemon(true);
            thread.start();
        }

        private void loop() {
            try {
                for (;;) inbox.take().run();
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
            }
        }

        CountDownLatch start(Runnable work) throws InterruptedException {
            CountDownLatch done = new CountDownLatch(1);
            inbox.put(() -> { work.run(); done.countDown(); });
            return done;
        }
    }

    /** Checks what it sees, producer by producer, and stops its processor at the last end mark. */
    private static final class Check implements EventHandler<Event> {
        final long[] expected;
        int open;
        long errors;
        long endNanos;
        BatchEventProcessor<Event> processor;

        Check(int producers) {
            expected = new long[producers];
            open = producers;
        }

        long seen() { return Arrays.stream(expected).sum(); }

        @Override
        public void onEvent(Event event, long sequence, boolean endOfBatch) {
            if (event.w0 == END) {
                if (--open > 0) return;
                endNanos = System.nanoTime();
                processor.halt();
                return;
            }
            int producer = (int) event.w1;
            if (event.w0 != expected[producer] || event.w5 != ~event.w0) errors++;
            expected[producer]++;
        }
    }

    /** Answers each message on the way back. */
    private static final class Echo implements EventHandler<Event> {
        final RingBuffer<Event> back;
        BatchEventProcessor<Event> processor;

        Echo(RingBuffer<Event> back) { this.back = back; }

        @Override
        public void onEvent(Event event, long sequence, boolean endOfBatch) {
            if (event.w0 == END) {
                processor.halt();
                return;
            }
            publish(back, event.w0);
        }
    }

    private static void publish(RingBuffer<Event> ring, long message) { publish(ring, message, 0); }

    private static void publish(RingBuffer<Event> ring, long message, long producer) {
        long sequence = ring.next();
        ring.get(sequence).fill(message, producer);
        ring.publish(sequence);
    }

    private static RingBuffer<Event> ring(int capacity, WaitStrategy wait) {
        return RingBuffer.createSingleProducer(Event::new, capacity, wait);
    }

    private static BatchEventProcessor<Event> follow(RingBuffer<Event> ring, EventHandler<Event> handler, BatchEventProcessor<?>... after) {
        Sequence[] before = Arrays.stream(after).map(BatchEventProcessor::getSequence).toArray(Sequence[]::new);
        return new BatchEventProcessorBuilder().build(ring, ring.newBarrier(before), handler);
    }

    /** A chain of `stages` handlers behind one producer. */
    private static String chain(int capacity, int stages, int batch, long millis) throws InterruptedException {
        WaitStrategy wait = stages > 1 ? new YieldingWaitStrategy() : new BusySpinWaitStrategy();
        RingBuffer<Event> ring = ring(capacity, wait);
        Check[] checks = checks(stages, 1);
        for (int i = 0; i < stages; i++)
            checks[i].processor = i == 0 ? follow(ring, checks[i]) : follow(ring, checks[i], checks[i - 1].processor);
        return run(ring, 1, checks, batch, millis, checks[stages - 1]);
    }

    /** `width` handlers that each see everything. */
    private static String fanout(int width, int batch, long millis) throws InterruptedException {
        RingBuffer<Event> ring = ring(MANY_CAPACITY, new YieldingWaitStrategy());
        Check[] checks = checks(width, 1);
        for (Check each : checks) each.processor = follow(ring, each);
        return run(ring, 1, checks, batch, millis, checks);
    }

    /** Two handlers that each see everything, and one that follows both. */
    private static String diamond(int batch, long millis) throws InterruptedException {
        RingBuffer<Event> ring = ring(MANY_CAPACITY, new YieldingWaitStrategy());
        Check[] checks = checks(3, 1);
        checks[0].processor = follow(ring, checks[0]);
        checks[1].processor = follow(ring, checks[1]);
        checks[2].processor = follow(ring, checks[2], checks[0].processor, checks[1].processor);
        return run(ring, 1, checks, batch, millis, checks[2]);
    }

    /** `producers` on a ring for many, one handler. */
    private static String producers(int producers, int batch, long millis) throws InterruptedException {
        RingBuffer<Event> ring = RingBuffer.createMultiProducer(Event::new, MANY_CAPACITY, new YieldingWaitStrategy());
        Check[] checks = checks(1, producers);
        checks[0].processor = follow(ring, checks[0]);
        return run(ring, producers, checks, batch, millis, checks[0]);
    }

    private static Check[] checks(int handlers, int producers) {
        Check[] checks = new Check[handlers];
        for (int i = 0; i < handlers; i++) checks[i] = new Check(producers);
        return checks;
    }

    /** Runs every handler and producer on a thread of its own; messages per second until the last of `ends` is through. */
    private static String run(RingBuffer<Event> ring, int producers, Check[] checks, int batch, long millis, Check... ends) throws InterruptedException {
        for (Check each : ends) ring.addGatingSequences(each.processor.getSequence());
        CountDownLatch[] done = new CountDownLatch[checks.length + producers];
        for (int i = 0; i < checks.length; i++) done[i] = LANES[producers + i].start(checks[i].processor);
        long[] begin = new long[producers];
        for (int i = 0; i < producers; i++) {
            int producer = i;
            done[checks.length + i] = LANES[i].start(() -> begin[producer] = produce(ring, batch, millis, producer));
        }
        for (CountDownLatch each : done) each.await();
        long errors = 0, finish = 0;
        for (Check each : checks) errors += each.errors + (each.seen() == ends[0].seen() ? 0 : 1);
        for (Check each : ends) finish = Math.max(finish, each.endNanos);
        long first = Arrays.stream(begin).min().getAsLong(), seen = ends[0].seen();
        return String.format("rate=%.0f messages=%d errors=%d", seen * 1e9 / (finish - first), seen, errors);
    }

    private static long produce(RingBuffer<Event> ring, int batch, long millis, int producer) {
        long begin = System.nanoTime();
        long end = begin + millis * 1_000_000L;
        long message = 0;
        do {
            if (batch == 1) {
                for (int i = 0; i < CHUNK; i++) publish(ring, message++, producer);
            } else {
                for (int sent = 0; sent < CHUNK; sent += batch) {
                    long high = ring.next(batch);
                    for (long s = high - batch + 1; s <= high; s++) ring.get(s).fill(message++, producer);
                    ring.publish(high - batch + 1, high);
                }
            }
        } while (System.nanoTime() < end);
        publish(ring, END, producer);
        return begin;
    }

    /** Round trips over two rings, spun on by hand, as the fastest published way to ping with a Disruptor. */
    private static String ping(long millis) throws InterruptedException {
        RingBuffer<Event> there = ring(4096, new BusySpinWaitStrategy());
        RingBuffer<Event> back = ring(4096, new BusySpinWaitStrategy());
        Echo echo = new Echo(back);
        echo.processor = follow(there, echo);
        there.addGatingSequences(echo.processor.getSequence());
        var backBarrier = back.newBarrier();
        var backRead = new Sequence(-1);
        back.addGatingSequences(backRead);
        CountDownLatch echoing = LANES[1].start(echo.processor);
        int[] count = new int[1];
        long[] trips = TRIPS;
        LANES[0].start(() -> {
            long last = System.nanoTime();
            long end = last + millis * 1_000_000L;
            int n = 0;
            try {
                for (long now = last; now < end && n < trips.length; last = now) {
                    publish(there, n);
                    long sequence = backRead.get() + 1;
                    backBarrier.waitFor(sequence);
                    backRead.set(sequence);
                    now = System.nanoTime();
                    trips[n++] = now - last;
                }
            } catch (Exception impossible) {
                throw new IllegalStateException(impossible);
            }
            publish(there, END);
            count[0] = n;
        }).await();
        echoing.await();
        Arrays.sort(trips, 0, count[0]);
        return String.format("rtt_p50_ns=%d rtt_p99_ns=%d round_trips=%d errors=0", trips[count[0] / 2], trips[(int) (count[0] * 0.99)], count[0]);
    }

    private static final long[] TRIPS = new long[2_000_000];

    private static String sample(String shape, long millis) throws InterruptedException {
        switch (shape) {
            case "ping": return ping(millis);
            case "single.256k": return chain(4096, 1, 1, millis);
            case "single.4m": return chain(65536, 1, 1, millis);
            case "batch16.256k": return chain(4096, 1, BATCH, millis);
            case "batch16.4m": return chain(65536, 1, BATCH, millis);
            default: return many(shape, millis);
        }
    }

    /** `chain3.single`, `fanout2.batch16`, `producers4.single`, `diamond.batch16` and their like. */
    private static String many(String shape, long millis) throws InterruptedException {
        String[] parts = shape.split("\\.");
        String kind = parts[0].replaceAll("\\d", ""), digits = parts[0].replaceAll("\\D", "");
        int width = digits.isEmpty() ? 0 : Integer.parseInt(digits), batch = parts[1].equals("single") ? 1 : BATCH;
        switch (kind) {
            case "chain": return chain(MANY_CAPACITY, width, batch, millis);
            case "fanout": return fanout(width, batch, millis);
            case "producers": return producers(width, batch, millis);
            case "diamond": return diamond(batch, millis);
            default: return "error=unknown_shape";
        }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready pid=" + ProcessHandle.current().pid());
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split(" ");
            System.out.println(sample(words[0], Long.parseLong(words[1])));
        }
    }
}
