// Package daemon starts a real FreeSWITCH with the configuration of freeswitch-cfg: for the contract tests, and for
// whoever has the binary. Nothing of FreeSWITCH is in this repository.
package daemon

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// valueLine is one value of a node in vars.xml.
var valueLine = regexp.MustCompile(`(<X-PRE-PROCESS cmd="set" data=")([a-z_]+)=([^"]*)("/>)`)

// forbidden are the characters that would end a value, or be expanded in it.
const forbidden = "\"<>&$'`{}\r\n\x00"

// Render copies the configuration folder from into the folder to and puts the values of one node into its vars.xml,
// by name. A name that vars.xml does not have is an error, so is a value that XML or FreeSWITCH would read otherwise.
func Render(from, to string, values map[string]string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	file := filepath.Join(to, "vars.xml")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the values: %w", err)
	}
	out, err := fill(string(text), values)
	if err != nil {
		return err
	}
	if err := os.Chmod(file, 0o600); err != nil { // it is going to hold the password of the event socket
		return fmt.Errorf("write the values: %w", err)
	}
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		return fmt.Errorf("write the values: %w", err)
	}
	return nil
}

// fill replaces values in the text of vars.xml.
func fill(text string, values map[string]string) (string, error) {
	left := maps.Clone(values)
	for name, value := range values {
		if strings.ContainsAny(value, forbidden) {
			return "", fmt.Errorf("value %s: %q has a character that cannot stand in vars.xml", name, value)
		}
	}
	text = valueLine.ReplaceAllStringFunc(text, func(line string) string {
		part := valueLine.FindStringSubmatch(line)
		value, ok := values[part[2]]
		if !ok {
			return line
		}
		delete(left, part[2])
		return part[1] + part[2] + "=" + value + part[4]
	})
	if len(left) > 0 {
		return "", fmt.Errorf("vars.xml has no value %s", strings.Join(slices.Sorted(maps.Keys(left)), ", "))
	}
	return text, nil
}
