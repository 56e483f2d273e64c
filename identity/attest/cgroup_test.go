package attest

import (
	"os"
	"strings"
	"testing"
)

func TestContainerOfCgroup(t *testing.T) {
	for name, c := range map[string]struct {
		text, id string
		wrong    bool
	}{
		"v2 docker":         {text: "0::/docker/" + hexA + "\n", id: hexA},
		"v2 systemd":        {text: "0::/system.slice/docker-" + hexA + ".scope\n", id: hexA},
		"v1 docker":         {text: "12:memory:/docker/" + hexA + "\n1:name=systemd:/docker/" + hexA + "\n0::/\n", id: hexA},
		"kubelet, cri":      {text: "0::/kubepods.slice/kubepods-pod3_1.slice/cri-containerd-" + hexA + ".scope\n", id: hexA},
		"kubelet, cgroupfs": {text: "4:cpu:/kubepods/burstable/pod6d5-1/" + hexA + "\n", id: hexA},
		"containerd, colon": {text: "0::/system.slice/containerd.service/k8s.io:pod:" + hexA + "\n", id: hexA},
		"podman":            {text: "0::/machine.slice/libpod-" + hexA + ".scope/container\n", id: hexA},
		"nested":            {text: "0::/docker/" + hexA + "/docker/" + hexB + "\n", id: hexA},
		"host":              {text: "0::/user.slice/user-1000.slice/session-2.scope\n"},
		"root":              {text: "0::/\n"},
		"upper case":        {text: "0::/docker/" + strings.Repeat("A", 64) + "\n"},
		"two ids":           {text: "2:cpu:/docker/" + hexA + "\n1:memory:/docker/" + hexB + "\n", wrong: true},
		"empty":             {text: "", wrong: true},
		"no path":           {text: "0::\n", wrong: true},
		"no colons":         {text: "hello\n", wrong: true},
		"too long":          {text: "0::/" + strings.Repeat("a", maxCgroup), wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			groups, err := parseCgroup([]byte(c.text))
			id := ""
			if err == nil {
				id, err = groups.container()
			}
			if (err != nil) != c.wrong || id != c.id {
				t.Errorf("id %q, error %v", id, err)
			}
		})
	}
}

func TestWithinContainer(t *testing.T) {
	docker := "12:memory:/docker/" + hexA + "\n0::/\n"
	for name, c := range map[string]struct {
		caller, init string
		within       bool
	}{
		"same":                        {docker, docker, true},
		"below":                       {"12:memory:/docker/" + hexA + "/sub\n0::/\n", docker, true},
		"beside, systemd's container": {"0::/m/libpod-" + hexA + ".scope/exec\n", "0::/m/libpod-" + hexA + ".scope/container\n", true},
		"same name elsewhere":         {"0::/user.slice/user@7.service/docker-" + hexA + ".scope\n", "0::/system.slice/docker-" + hexA + ".scope\n", false},
		"other hierarchy":             {"1:name=systemd:/docker/" + hexA + "\n", "12:memory:/docker/" + hexA + "\n", false},
		"one hierarchy only":          {"12:memory:/x\n1:cpu:/docker/" + hexA + "\n", "12:memory:/docker/" + hexA + "\n1:cpu:/docker/" + hexA + "\n", false},
		"longer name":                 {"0::/docker/" + hexA + "b\n", "0::/docker/" + hexA + "\n", false},
		"init is nowhere":             {docker, "0::/\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := parseCgroup([]byte(c.caller))
			if err != nil {
				t.Fatal(err)
			}
			init, err := parseCgroup([]byte(c.init))
			if err != nil {
				t.Fatal(err)
			}
			if got := caller.within(init, hexA); got != c.within {
				t.Errorf("within: %v", got)
			}
		})
	}
}

func FuzzCgroup(f *testing.F) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("0::/docker/" + hexA + "/docker/" + hexB + "\n"))
	f.Add([]byte("1:name=systemd:/system.slice/docker-" + hexA + ".scope\n0::/a:b:c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		groups, err := parseCgroup(text)
		if err != nil {
			return
		}
		id, err := groups.container()
		if err != nil || id == "" {
			return
		}
		if !isSHA256(id) || !strings.Contains(string(text), id) {
			t.Errorf("id %q is not in the text", id)
		}
		if !groups.within(groups, id) {
			t.Error("a process is not in its own container")
		}
	})
}
