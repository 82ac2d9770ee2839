package nodeagent

import (
	"os/exec"
	"testing"
)

// Proves that the version of the rtpengine installed here is read, by which known holes are found.
func TestRTPEngineVersion_IsRead(t *testing.T) {
	if _, err := exec.LookPath("rtpengine"); err != nil {
		t.Skip("install it: deploy/install-packages.sh:", err)
	}
	if v := rtpengineVersion(t.Context()); v == "" || v[0] < '0' || v[0] > '9' {
		t.Errorf("version %q", v)
	}
}
