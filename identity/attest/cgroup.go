package attest

import (
	"errors"
	"fmt"
	"strings"
)

// cgroup is where a process stands in the control group hierarchies: hierarchy -> path (cgroups(7)).
type cgroup map[string]string

// maxCgroup bounds /proc/PID/cgroup: about 15 lines, each a path.
const maxCgroup = 64 << 10

// parseCgroup reads /proc/PID/cgroup: lines of hierarchy-ID:controllers:path. The path may hold colons.
func parseCgroup(text []byte) (cgroup, error) {
	if len(text) > maxCgroup {
		return nil, errors.New("parsing control groups: too long")
	}
	out := cgroup{}
	for line := range strings.Lines(string(text)) {
		id, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("parsing control groups: line %q is not id:controllers:path", line)
		}
		out[id+":"+controllers] = path
	}
	if len(out) == 0 {
		return nil, errors.New("parsing control groups: empty")
	}
	return out, nil
}

// container returns the id of the container that the path names, "" if none. It is a claim until the runtime
// confirms it: a user with delegated groups may name one of them as they like. The outermost id counts, since
// what is below is named by whoever lives in the container. Hierarchies that name different ones are an error.
func (c cgroup) container() (string, error) {
	found := ""
	for _, path := range c {
		id := containerOf(path)
		if id != "" && found != "" && id != found {
			return "", errors.New("control groups name two containers")
		}
		if id != "" {
			found = id
		}
	}
	return found, nil
}

// containerOf finds the first path segment that holds a container id: plain, or as "docker-ID.scope",
// "cri-containerd-ID.scope", "libpod-ID.scope".
func containerOf(path string) string {
	for segment := range strings.SplitSeq(path, "/") {
		segment = strings.TrimSuffix(segment, ".scope")
		if i := strings.LastIndexAny(segment, "-:"); i >= 0 {
			segment = segment[i+1:]
		}
		if isSHA256(segment) {
			return segment
		}
	}
	return ""
}

// within tells whether c stands in container id, whose first process stands in init: in every hierarchy where
// the runtime made a group for the container, c must be in that group or below it, and there must be one.
func (c cgroup) within(init cgroup, id string) bool {
	proven := false
	for hierarchy, path := range init {
		if containerOf(path) != id {
			continue
		}
		at := strings.Index(path, id)
		end := strings.IndexByte(path[at:], '/')
		if end < 0 {
			end = len(path) - at
		}
		top := path[:at+end]
		if mine, ok := c[hierarchy]; !ok || mine != top && !strings.HasPrefix(mine, top+"/") {
			return false
		}
		proven = true
	}
	return proven
}
