package edge

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/sipio/sipio/test/netns"
)

// Root is the root folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// variable hands the folder on to a test that runs again in a network namespace of its own.
const variable = "SIPIO_TEST_BIN"

var binaries = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(variable); dir != "" && netns.Inside() {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "sipio-bin-")
	if err != nil {
		return "", err
	}
	built.dir = dir
	if err := readSources(); err != nil {
		return "", err
	}
	for _, argv := range [][]string{
		{"go", "build", "-o", dir + "/", "./cmd/...", "./test/phone/cmd/testphone", "./test/fsim/cmd/fsim"},
		{"make", "-s", filepath.Join(dir, kamailioMend), filepath.Join(dir, rtpengineMend)},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build sipio: %w\n%s", err, out)
		}
	}
	return dir, os.Setenv(variable, dir)
})

// readSources looks into every folder that the programs are built from. The go command notes what a test
// looks at, and takes no earlier result for a test when that has changed.
func readSources() error {
	for _, top := range []string{"brain", "controller", "nodeagent", "cmd", "deploy", "test/fsim"} {
		err := filepath.WalkDir(filepath.Join(Root(), top), func(_ string, _ os.DirEntry, err error) error { return err })
		if err != nil {
			return fmt.Errorf("read the sources: %w", err)
		}
	}
	return nil
}

// RemoveBinaries removes what Binaries built; a program calls it at its end.
func RemoveBinaries() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// kamailioMend is loaded into Kamailio before all else: docs/adr/0027-mends-of-debians-daemons.md.
const kamailioMend = "kamailio-mend.so"

// rtpengineMend is loaded into rtpengine before all else: docs/edge.md, RTP.
const rtpengineMend = "rtpengine-mend.so"

// built is where the programs are, once they were built.
var built struct{ dir string }

// Binaries builds sipio's programs and the test phone once and returns the folder they are in.
func Binaries() (string, error) { return binaries() }
