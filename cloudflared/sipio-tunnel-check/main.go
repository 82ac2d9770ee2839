// Command sipio-tunnel-check says what a tunnel configuration opens, as cloudflared itself reads it.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sipio/sipio/cloudflared"
)

// maxFile bounds a configuration in bytes, so that a wrong path is noticed.
const maxFile = 1 << 20

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the whole program: 0 when every file opens what a node's tunnel may open and nothing more, 1 otherwise.
func run(files []string, stdout, stderr io.Writer) int {
	if len(files) == 0 {
		fmt.Fprintln(stderr, "usage: sipio-tunnel-check FILE...")
		return 1
	}
	status := 0
	for _, file := range files {
		door, err := check(file)
		if err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", file, err)
			status = 1
			continue
		}
		fmt.Fprintf(stdout, "%s: %s of %s to %s, everything else 404\n", file, strings.Join(cloudflared.Paths, " and "), door.Hostname, door.Service)
	}
	return status
}

func check(file string) (cloudflared.Door, error) {
	f, err := os.Open(file)
	if err != nil {
		return cloudflared.Door{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("longer than %d bytes", maxFile)
	}
	if err != nil {
		return cloudflared.Door{}, err
	}
	return cloudflared.Check(raw)
}
