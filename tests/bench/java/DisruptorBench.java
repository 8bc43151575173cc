import com.lmax.disruptor.BatchEventProcessor;
import com.lmax.disruptor.BatchEventProcessorBuilder;
import com.lmax.disruptor.BusySpinWaitStrategy;
import com.lmax.disruptor.EventHandler;
import com.lmax.disruptor.RingBuffer;
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
    private static final Lane[] LANES = {new Lane(0), new Lane(1), new Lane(2), new Lane(3)};

    /** One message: the payload of the other candidates, as fields. */
    public static final class Event {
        long w0, w1, w2, w3, w4, w5;

        void fill(long sequence) {
            w0 = sequence; w1 = sequence; w2 = sequence; w3 = sequence; w4 = sequence; w5 = ~sequence;
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

    /** Checks what it sees and stops its processor at the end mark; `last` handlers keep the time. */
    private static final class Check implements EventHandler<Event> {
        long expected;
        long errors;
        long endNanos;
        BatchEventProcessor<Event> processor;

        @Override
        public void onEvent(Event event, long sequence, boolean endOfBatch) {
            if (event.w0 == END) {
                endNanos = System.nanoTime();
                processor.halt();
                return;
            }
            if (event.w0 != expected || event.w5 != ~expected) errors++;
            expected++;
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

    private static void publish(RingBuffer<Event> ring, long message) {
        long sequence = ring.next();
        ring.get(sequence).fill(message);
        ring.publish(sequence);
    }

    private static RingBuffer<Event> ring(int capacity, WaitStrategy wait) {
        return RingBuffer.createSingleProducer(Event::new, capacity, wait);
    }

    private static BatchEventProcessor<Event> follow(RingBuffer<Event> ring, EventHandler<Event> handler, BatchEventProcessor<Event> after) {
        var barrier = after == null ? ring.newBarrier() : ring.newBarrier(after.getSequence());
        return new BatchEventProcessorBuilder().build(ring, barrier, handler);
    }

    /** A chain of `stages` handlers behind one producer; messages per second through the last. */
    private static String chain(int capacity, int stages, int batch, long millis) throws InterruptedException {
        WaitStrategy wait = stages > 1 ? new YieldingWaitStrategy() : new BusySpinWaitStrategy();
        RingBuffer<Event> ring = ring(capacity, wait);
        Check[] checks = new Check[stages];
        CountDownLatch[] done = new CountDownLatch[stages];
        BatchEventProcessor<Event> previous = null;
        for (int i = 0; i < stages; i++) {
            checks[i] = new Check();
            checks[i].processor = previous = follow(ring, checks[i], previous);
        }
        ring.addGatingSequences(previous.getSequence());
        for (int i = 0; i < stages; i++) done[i] = LANES[i + 1].start(checks[i].processor);
        long[] begin = new long[1];
        LANES[0].start(() -> begin[0] = produce(ring, batch, millis)).await();
        for (CountDownLatch each : done) each.await();
        Check last = checks[stages - 1];
        long errors = 0;
        for (Check each : checks) errors += each.errors;
        return String.format("rate=%.0f messages=%d errors=%d", last.expected * 1e9 / (last.endNanos - begin[0]), last.expected, errors);
    }

    private static long produce(RingBuffer<Event> ring, int batch, long millis) {
        long begin = System.nanoTime();
        long end = begin + millis * 1_000_000L;
        long message = 0;
        do {
            if (batch == 1) {
                for (int i = 0; i < CHUNK; i++) publish(ring, message++);
            } else {
                for (int sent = 0; sent < CHUNK; sent += batch) {
                    long high = ring.next(batch);
                    for (long s = high - batch + 1; s <= high; s++) ring.get(s).fill(message++);
                    ring.publish(high - batch + 1, high);
                }
            }
        } while (System.nanoTime() < end);
        publish(ring, END);
        return begin;
    }

    /** Round trips over two rings, spun on by hand, as the fastest published way to ping with a Disruptor. */
    private static String ping(long millis) throws InterruptedException {
        RingBuffer<Event> there = ring(4096, new BusySpinWaitStrategy());
        RingBuffer<Event> back = ring(4096, new BusySpinWaitStrategy());
        Echo echo = new Echo(back);
        echo.processor = follow(there, echo, null);
        there.addGatingSequences(echo.processor.getSequence());
        var backBarrier = back.newBarrier();
        var backRead = new com.lmax.disruptor.Sequence(-1);
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
            case "chain3.single": return chain(4096, 3, 1, millis);
            case "chain3.batch16": return chain(4096, 3, BATCH, millis);
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
