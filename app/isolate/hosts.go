package isolate

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WriteHosts writes names as a hosts(5) file, beside those of this host. It writes in place: the file may be mounted
// elsewhere.
func WriteHosts(path string, names map[string]netip.Addr) error {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "%s %s\n", names[name], name)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // names, for all who resolve them
		return fmt.Errorf("writing names: %w", err)
	}
	return nil
}

// hostsIn is the file of names in the folder of a namespace.
func hostsIn(folder string) string { return filepath.Join(folder, "hosts") }
