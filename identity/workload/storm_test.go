package workload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	workloadpb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// stormSize is how many callers come at once, each with a connection and a stream of its own.
const stormSize = 10_000

// storm is another process that plays all callers. It prints "round" once each of them has had one more SVID.
func storm(path, callers string) int {
	size, err := strconv.Atoi(callers)
	if err != nil {
		return 1
	}
	ctx, cancel := context.WithCancel(withHeader(context.Background()))
	defer cancel()
	got := make(chan int, size)
	for range size {
		go func() {
			for round := 0; ; {
				conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer))
				if err != nil {
					return
				}
				stream, err := workloadpb.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workloadpb.X509SVIDRequest{})
				for err == nil {
					if _, err = stream.Recv(); err == nil {
						round++
						got <- round
					}
				}
				_ = conn.Close()
				if ctx.Err() != nil {
					return
				}
				time.Sleep(50 * time.Millisecond) // the socket's backlog was full
			}
		}()
	}
	go func() {
		counts := map[int]int{}
		for round := range got {
			if counts[round]++; counts[round] == size {
				fmt.Println("round")
			}
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// BenchmarkStorm lets 10,000 callers (as many as files can be open) come at once, renews their SVID, and tells what each costs the server. The
// callers live in another process, so the memory is the server's alone.
func BenchmarkStorm(b *testing.B) {
	size := min(stormSize, (openFiles(b)-200)/2) // a connection and a pidfd each
	f := newFixture(b, func(c *Config) { c.Streams, c.StreamsPerProcess = 2*size, size })
	for b.Loop() {
		before := held()
		cmd := exec.CommandContext(b.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "WORKLOAD_TEST_STORM="+f.path, "WORKLOAD_TEST_STORM_SIZE="+strconv.Itoa(size))
		in, out := pipes(b, cmd)
		begun := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		round := func() time.Duration {
			if !lines.Scan() || strings.TrimSpace(lines.Text()) != "round" {
				b.Fatalf("the callers say %q", lines.Text())
			}
			return time.Since(begun)
		}
		b.ReportMetric(float64(size), "callers")
		b.ReportMetric(round().Seconds(), "s/first")
		b.ReportMetric(float64(held()-before)/float64(size)/1024, "KiB/caller")
		begun = time.Now()
		f.renewer.Renew()
		b.ReportMetric(round().Seconds(), "s/renewal")
		_ = in.Close()
		_ = cmd.Wait()
	}
}

func pipes(b *testing.B, cmd *exec.Cmd) (io.WriteCloser, io.Reader) {
	b.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	return in, out
}

// held is the memory in use: heap and stacks.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkX509Answer is the work for one message to one caller.
func BenchmarkX509Answer(b *testing.B) {
	c := newCA(b, "shop.example")
	id := service(b, c, "catalog")
	key := p256(b)
	chain, err := c.SignX509(b.Context(), id, key.Public())
	if err != nil {
		b.Fatal(err)
	}
	v := &view{identities: []Identity{{ID: id}}, svids: []*SVID{{id, chain, key}}, bundles: c.bundles}
	b.ReportAllocs()
	for b.Loop() {
		answer, err := x509Answer(v)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := proto.Marshal(answer); err != nil {
			b.Fatal(err)
		}
	}
}

// A process has its share, and a user who starts as many processes as they like leaves half for the others.
func TestQuota(t *testing.T) {
	q := newQuota(2, 10)
	take := func(pid int32, uid uint32, want bool) {
		t.Helper()
		if got := q.take(pid, uid) == nil; got != want {
			t.Errorf("pid %d of user %d: %v", pid, uid, got)
		}
	}
	take(1, 7, true)
	take(1, 7, true)
	take(1, 7, false) // one process
	take(2, 7, true)
	take(3, 7, true)
	take(4, 7, true)
	take(5, 7, false) // one user
	for pid := range int32(5) {
		take(10+pid, 8, true)
	}
	take(20, 9, false) // all
	q.give(1, 7)
	take(20, 9, true)
	for _, held := range []struct {
		pid int32
		uid uint32
	}{{1, 7}, {2, 7}, {3, 7}, {4, 7}, {10, 8}, {11, 8}, {12, 8}, {13, 8}, {14, 8}, {20, 9}} {
		q.give(held.pid, held.uid)
	}
	if q.held != 0 || len(q.byPID) != 0 || len(q.byUser) != 0 {
		t.Errorf("left over: %d, %v, %v", q.held, q.byPID, q.byUser)
	}
}

// openFiles is how many files this process may hold.
func openFiles(t testing.TB) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<20))
}
