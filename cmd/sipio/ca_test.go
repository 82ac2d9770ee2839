package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCA(t *testing.T) {
	// Proves what an operator does with the authority, by the program's words: make it, issue, list, renew and revoke; and that what is
	// there already, and what is not there, is told with exit status 1.
	dir := filepath.Join(t.TempDir(), "ca")
	for _, row := range []struct {
		args []string
		want string // in what it says
		code int
	}{
		{[]string{"ca", "node", "edge-1"}, "sipio ca init", 1},
		{[]string{"ca", "init", dir}, "made the authority in " + dir, 0},
		{[]string{"ca", "init", dir}, "is there already and is not overwritten", 1},
		{[]string{"ca", "node", "edge-1", "--host", "192.0.2.1,edge.example.com"}, "made sipio://node/edge-1: " + dir + "/node-edge-1.pem", 0},
		{[]string{"ca", "node", "edge-1"}, "is not overwritten", 1},
		{[]string{"ca", "brain", "brain-1", "--host", "brain.example.com"}, "made sipio://brain/brain-1", 0},
		{[]string{"ca", "operator", "anna", "--life", "240h"}, "made sipio://operator/anna", 0},
		{[]string{"ca", "operator", "an/na"}, "a name has", 1},
		{[]string{"ca", "list"}, "ends soon", 0},
		{[]string{"ca", "renew", "operator", "anna"}, "renewed sipio://operator/anna", 0},
		{[]string{"ca", "renew", "operator", "bert"}, "no certificate operator-bert", 1},
		{[]string{"ca", "revoke", "node", "edge-1"}, "revoked sipio://node/edge-1", 0},
		{[]string{"ca", "list"}, "revoked  edge.example.com", 0},
		{[]string{"ca", "revoke", "anna"}, "revoked sipio://operator/anna, serial", 0},
		{[]string{"ca", "revoke", "bert"}, "has signed nothing for bert", 1},
		{[]string{"ca", "list", "--json"}, `"name": "edge-1"`, 0},
	} {
		args := row.args
		if args[1] != "init" {
			args = append(args, "--dir", dir)
		}
		var out, errs strings.Builder
		code := run(t.Context(), args, &out, &errs)
		if said := out.String() + errs.String(); code != row.code || !strings.Contains(said, row.want) && !strings.Contains(strings.Join(strings.Fields(said), "  "), row.want) {
			t.Errorf("%v: exit status %d, %s\nwant %q", args, code, said, row.want)
		}
	}
	if _, err := os.Stat("sipio-ca"); err == nil {
		t.Error("a folder was made beside the program")
	}
}
