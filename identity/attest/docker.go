package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what is taken from the runtime and remembered.
const (
	maxInspect    = 4 << 20
	maxContainers = 4096
	dockerTimeout = 5 * time.Second
)

// Docker asks a container runtime over the Docker Engine API (/containers/{id}/json, /images/{id}/json; v1.24
// and later, Podman's service too) what a container was made from. We must see the runtime's processes: same
// pid namespace, same host.
type Docker struct {
	client *http.Client

	mu    sync.Mutex
	known map[string]*container
}

// container is what never changes in a container's life. Ids are random and not given out again.
type container struct {
	id        string
	cgroup    cgroup
	selectors []Selector
}

// NewDocker talks to the runtime at a Unix socket, such as /var/run/docker.sock.
func NewDocker(socket string) *Docker {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial, MaxConnsPerHost: 4, IdleConnTimeout: time.Minute, DisableCompression: true}
	return &Docker{
		client: &http.Client{Transport: transport, Timeout: dockerTimeout},
		known:  map[string]*container{},
	}
}

// Close ends idle connections.
func (d *Docker) Close() { d.client.CloseIdleConnections() }

// selectors proves that a process with control groups of is in container id, which they name, and returns what
// is known of that container. A process in a container that the runtime does not know has none.
func (d *Docker) selectors(ctx context.Context, id string, of cgroup) ([]Selector, error) {
	c := d.cached(id)
	if c == nil {
		var err error
		if c, err = d.inspect(ctx, id); err != nil {
			return nil, fmt.Errorf("asking about container %s: %w", id, err)
		}
		if c == nil {
			return nil, nil
		}
		d.remember(c)
	}
	if !of.within(c.cgroup, id) {
		return nil, nil // a group of that name, but not the runtime's
	}
	return c.selectors, nil
}

func (d *Docker) cached(id string) *container {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[id]
}

func (d *Docker) remember(c *container) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxContainers {
		clear(d.known)
	}
	d.known[c.id] = c
}

// inspection is the part of GET /containers/{id}/json that counts.
type inspection struct {
	ID     string `json:"Id"`
	Image  string `json:"Image"`
	Config struct {
		Labels map[string]string `json:"Labels"`
	} `json:"Config"`
	State struct {
		Running bool  `json:"Running"`
		Pid     int32 `json:"Pid"`
	} `json:"State"`
}

// parseInspection reads an answer of the runtime and refuses one for another container.
func parseInspection(text []byte, id string) (*inspection, error) {
	var out inspection
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("reading the runtime's answer: %w", err)
	}
	switch {
	case out.ID != id:
		return nil, errors.New("reading the runtime's answer: it is about another container")
	case !out.State.Running || out.State.Pid <= 0:
		return nil, errors.New("the container does not run")
	}
	return &out, nil
}

// imageInspection is the part of GET /images/{id}/json that counts.
type imageInspection struct {
	RepoDigests []string `json:"RepoDigests"`
}

// parseDigests reads the digests under which registries know an image.
func parseDigests(text []byte) ([]string, error) {
	var image imageInspection
	if err := json.Unmarshal(text, &image); err != nil {
		return nil, fmt.Errorf("reading the runtime's answer: %w", err)
	}
	var out []string
	for _, ref := range image.RepoDigests {
		if _, digest, ok := strings.Cut(ref, "@"); ok {
			out = append(out, digest)
		}
	}
	return out, nil
}

// inspect returns nil if the runtime does not know the container.
func (d *Docker) inspect(ctx context.Context, id string) (*container, error) {
	before, err := d.state(ctx, id)
	if err != nil || before == nil {
		return nil, err
	}
	c := &container{id: id}
	if c.cgroup, err = cgroupOf(before.State.Pid); err != nil {
		return nil, err
	}
	// Asked again, so that what was read is not of a process that got the pid after the container's end.
	after, err := d.state(ctx, id)
	if err != nil {
		return nil, err
	}
	if after == nil || after.State.Pid != before.State.Pid {
		return nil, errors.New("the container ended meanwhile")
	}
	images, err := d.images(ctx, after.Image)
	if err != nil {
		return nil, err
	}
	c.selectors = images
	for _, key := range slices.Sorted(maps.Keys(after.Config.Labels)) {
		if key != "" {
			c.selectors = append(c.selectors, Selector{ContainerLabel, key, after.Config.Labels[key]})
		}
	}
	return c, nil
}

// state asks for a container; nil if there is none.
func (d *Docker) state(ctx context.Context, id string) (*inspection, error) {
	text, err := d.get(ctx, "/containers/"+id+"/json")
	if err != nil || text == nil {
		return nil, err
	}
	return parseInspection(text, id)
}

// images returns the names by content of an image: its id and its digests in registries.
func (d *Docker) images(ctx context.Context, id string) ([]Selector, error) {
	if !isContent(id) {
		return nil, nil // older than content addresses
	}
	out := []Selector{{Kind: ContainerImage, Value: id}}
	text, err := d.get(ctx, "/images/"+id+"/json")
	if err != nil || text == nil { // an image may be removed under its container
		return out, err
	}
	digests, err := parseDigests(text)
	if err != nil {
		return nil, err
	}
	for _, digest := range digests {
		s := Selector{Kind: ContainerImage, Value: digest}
		if isContent(digest) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// cgroupOf reads the control groups of a container's first process.
func cgroupOf(pid int32) (cgroup, error) {
	file, err := os.Open("/proc/" + strconv.Itoa(int(pid)) + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("reading the container's control groups: %w", err)
	}
	defer file.Close()
	return readCgroup(file)
}

// get returns the body of a 200, nil for a 404, and an error otherwise.
func (d *Docker) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxInspect+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusNotFound:
		return nil, nil
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the runtime answers %d", res.StatusCode)
	case len(text) > maxInspect:
		return nil, fmt.Errorf("the runtime's answer is longer than %d bytes", maxInspect)
	}
	return text, nil
}
