package hostile_test

import (
	"context"
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/hosttest"
)

// TestSlowHTTPTest runs slowhttptest (https://github.com/shekyan/slowhttptest) for ten seconds in each mode.
func TestSlowHTTPTest(t *testing.T) {
	if testing.Short() {
		t.Skip("ten seconds for each mode")
	}
	hosttest.Need(t, "slowhttptest")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"slow headers", []string{"-H", "-i", "1"}},
		{"slow body", []string{"-B", "-i", "1", "-s", "8192"}},
		{"slow read", []string{"-X", "-w", "1", "-y", "2", "-n", "1", "-z", "1", "-k", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, hurried(nil))
			f.during(t, func(full func()) {
				args := append(slices.Clone(c.args), "-c", "300", "-r", "300", "-l", "10", "-p", "5", "-v", "1", "-u", "https://"+f.address+"/")
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				defer cancel()
				out, err := exec.CommandContext(ctx, "slowhttptest", args...).CombinedOutput()
				full()
				var exit *exec.ExitError
				if err != nil && !asExit(err, &exit) {
					t.Fatalf("%v: %s", err, out)
				}
				for _, line := range regexp.MustCompile(`(?m)^.*(?:available|pending|connected|closed|Exit status).*$`).FindAllString(colours.ReplaceAllString(string(out), ""), -1) {
					t.Log(strings.TrimSpace(line))
				}
			})
		})
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*[a-zA-Z]")

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError) //nolint:errorlint // as exec returns it
	*exit = e
	return ok
}

// explained names the cases of h2spec that the front of the edge fails, and why that is right or not ours to change.
var explained = map[string]string{
	"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE": "net/http ends connections that give a setting twice in one frame; no client needs to, and a flood of them costs less so",
}

// racing names the cases that pass or fail as it happens, and why that is right.
var racing = map[string]string{
	"http2/6.9.1 Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream": "the request is a GET with a body to come, which is refused at once: the answer may end the stream before the second WINDOW_UPDATE is read",
}

// report is h2spec's JUnit output.
type report struct {
	Suites []struct {
		Cases []struct {
			Package string  `xml:"package,attr"`
			Class   string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// TestH2Spec runs h2spec (https://github.com/summerwind/h2spec). It fails for a case that fails and is not
// explained above, and for one that is explained and passes.
func TestH2Spec(t *testing.T) { eachHTTP2(t, testH2Spec) }

func testH2Spec(t *testing.T, inside bool) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	find := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools.mod", "-n", "h2spec")
	find.Dir = "../.."
	path, err := find.Output()
	if err != nil {
		t.Fatalf("h2spec cannot be built: %v", err)
	}
	f := newFront(t, bounds{inside: inside})
	_, port, err := net.SplitHostPort(f.address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "h2spec.xml")
	ctx, cancel := context.WithTimeout(t.Context(), 5*hang)
	defer cancel()
	run := exec.CommandContext(ctx, strings.TrimSpace(string(path)), "-t", "-k", "-h", "127.0.0.1", "-p", port, "-o", "5", "-j", file)
	out, runErr := run.CombinedOutput()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("h2spec: %v, %s", runErr, out)
	}
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	passed, skipped, failed := 0, 0, map[string]string{}
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			name := c.Package + " " + c.Class
			switch {
			case c.Failure != nil:
				failed[name] = *c.Failure
			case c.Error != nil:
				failed[name] = *c.Error
			case c.Skipped != nil:
				skipped++
			default:
				passed++
			}
		}
	}
	t.Logf("%d passed, %d failed, %d skipped", passed, len(failed), skipped)
	for name, why := range failed {
		if (explained[name] == "" || inside) && racing[name] == "" {
			t.Errorf("fails without explanation: %q: %s", name, why)
		}
	}
	for name := range explained {
		if failed[name] == "" && !inside {
			t.Errorf("is explained, but does not fail: %q", name)
		}
	}
	if passed < 130 {
		t.Errorf("only %d cases passed", passed)
	}
}
