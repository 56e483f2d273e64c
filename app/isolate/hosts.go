package isolate

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeHosts writes the names of a namespace as a hosts(5) file and returns its path.
func writeHosts(s *Spec) (string, error) {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, name := range slices.Sorted(maps.Keys(s.Hosts)) {
		fmt.Fprintf(&b, "%s %s\n", s.Hosts[name], name)
	}
	path := filepath.Join(s.Folder, "hosts")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // names, to be read by the service's user
		return "", fmt.Errorf("writing the names of a namespace: %w", err)
	}
	return path, nil
}
