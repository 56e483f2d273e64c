package workload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/palisade-security/palisade/identity/attest"
)

// child is another program: it prints which identity it gets and whether that is taken from it, until its
// input ends.
func child(address string) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	c, err := workloadapi.New(ctx, workloadapi.WithAddr(address))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	_ = c.WatchX509Context(ctx, printer{})
	return 0
}

type printer struct{}

func (printer) OnX509ContextUpdate(c *workloadapi.X509Context) { fmt.Println(c.SVIDs[0].ID) }
func (printer) OnX509ContextWatchError(err error)              { fmt.Println("refused:", err) }

// program is a copy of this test at a path of its own.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// Two programs of one user get two identities by what the kernel says of them; a third gets none.
func TestProcessesAreToldApart(t *testing.T) {
	f := newFixture(t, nil)
	user := attest.Selector{Kind: attest.UnixUID, Value: strconv.Itoa(os.Getuid())}
	programs := map[string]string{}
	services := map[string][]attest.Workload{}
	for _, service := range []string{"catalog", "orders"} {
		programs[service] = program(t, service)
		services[service] = []attest.Workload{{user, {Kind: attest.UnixPath, Value: programs[service]}}}
	}
	programs["stranger"] = program(t, "stranger")
	f.declare(t, services)
	for name, file := range programs {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), file)
			cmd.Env = append(os.Environ(), "WORKLOAD_TEST_CHILD="+f.address())
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			_ = in.Close()
			_ = cmd.Wait()
			want := f.id(t, "x").TrustDomain().IDString() + "/service/" + name
			if name == "stranger" {
				want = "refused: rpc error: code = PermissionDenied"
			}
			if !strings.HasPrefix(line, want) {
				t.Errorf("%s gets %q, want %q", name, line, want)
			}
		})
	}
}
