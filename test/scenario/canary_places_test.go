package scenario

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sipio/sipio/test/edge"
)

func (h *secretsHeld) survivalFile() string { return filepath.Join(h.Dir, "spool", "survival.bin") }

// everything is what must not be in any answer: the canaries, what was made of them, and the keys between the parts of the edge.
func (h *secretsHeld) everything() canaries {
	all := maps.Clone(h.canaries)
	maps.Copy(all, h.own)
	return all
}

// searchAnswers searches all that was answered.
func (h *secretsHeld) searchAnswers() {
	h.t.Helper()
	h.readKeys()
	told, all := 0, h.everything()
	for where, data := range h.answers {
		if names := all.found(data); names != nil {
			h.t.Errorf("%s holds %v", where, names)
		}
		if bytes.Contains(data, []byte(beacon)) {
			told++
		}
	}
	if told < 20 {
		h.t.Errorf("%d of %d answers tell of the account", told, len(h.answers))
	}
}

// readKeys adds the keys between the parts of the edge, each of which is in its own file, and what the database has made of secrets.
func (h *secretsHeld) readKeys() {
	h.t.Helper()
	h.canaries["the platform's key"] = h.AdminKey
	for _, name := range []string{"op.key", "media.key", "brain/secret.key"} {
		words := strings.Fields(string(h.read(name)))
		h.canaries[name] = words[len(words)-1]
	}
	_, rest, _ := strings.Cut(string(h.read("kamailio-cfg/node.cfg")), "!EDGE_SECRET!")
	h.canaries["kamailio-cfg/node.cfg"], _, _ = strings.Cut(rest, "!")
	const query = `SELECT 'hash of PIN', pin_hash FROM voicemail UNION ALL SELECT 'hash of conference PIN', pin_hash FROM conference UNION ALL SELECT 'hash of moderator PIN', moderator_pin_hash FROM conference
		UNION ALL SELECT 'hash of key ' || id, hash FROM api_key UNION ALL SELECT 'hash of password', password_hash FROM console_user UNION ALL SELECT 'sealed ' || name, sealed FROM secret
		UNION ALL SELECT 'sealed token of ' || name, agent_token_sealed FROM node WHERE agent_token_sealed <> '' UNION ALL SELECT 'sealed access of ' || name, access_secret_sealed FROM node WHERE access_secret_sealed <> ''
		UNION ALL SELECT 'HA1 of ' || auth_username, ha1_md5 FROM sip_device`
	for _, row := range strings.Split(strings.TrimSpace(h.sqlite(query)), "\n") {
		name, value, _ := strings.Cut(row, "|")
		if len(value) < 32 {
			h.t.Errorf("%s in the database is %q", name, value)
			continue
		}
		h.own[name] = value
	}
	if len(h.own) < 13 {
		h.t.Errorf("the database has %d hashes and sealed values: %v", len(h.own), slices.Sorted(maps.Keys(h.own)))
	}
}

// read reads a file of the edge.
func (h *secretsHeld) read(name string) []byte {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// sqlite asks a copy of the database, so that the files stay as the killed brain left them.
func (h *secretsHeld) sqlite(query string) string {
	h.t.Helper()
	dir := h.t.TempDir()
	for _, name := range []string{"config.db", "config.db-wal"} {
		text, err := os.ReadFile(filepath.Join(h.Dir, "brain", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	out, err := exec.Command("sqlite3", filepath.Join(dir, "config.db"), query).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// settings fails the test unless the file from which phones are answered without a brain, which holds HA1s, is sealed and its owner's
// alone, and rtpengine of a node is told to log less than here.
func (h *secretsHeld) settings() {
	h.t.Helper()
	text, err := os.ReadFile(h.survivalFile())
	if err != nil || len(text) < 1000 || bytes.Contains(text, []byte(beacon)) || bytes.Contains(text, []byte("7001")) {
		h.t.Errorf("the survival file has %d bytes in clear: %v", len(text), err)
	}
	if info, err := os.Stat(h.survivalFile()); err != nil || info.Mode().Perm() != 0o600 {
		h.t.Errorf("the survival file: %v, %v", info, err)
	}
	if conf, err := os.ReadFile(filepath.Join(edge.Root(), "rtpengine-cfg", "rtpengine.conf")); err != nil || !bytes.Contains(conf, []byte("\nlog-level = 4\n")) {
		h.t.Errorf("rtpengine of a node may log the keys that are pressed: %v\n%s", err, conf)
	}
}

// pressedAsEvents are the PINs whose packets rtpengine relays (RFC 4733).
var pressedAsEvents = []string{"BOXPIN", "CHAIRPIN", "wrong PIN"}

// ownConfiguration are the lines in which Kamailio, started with -ddd, tells of node.cfg as it reads it, EDGE_SECRET included.
var ownConfiguration = regexp.MustCompile(`(?m)^.*\[core/(?:ppcfg\.c|cfg\.lex):.*\n`)

// belongs tells where a secret may stand: what was made of it in the database, a key in its own file.
func (h *secretsHeld) belongs(secret, file string) bool {
	_, made := h.own[secret]
	switch {
	case made: // the change log brings it to the other brains of a cluster
		return strings.HasPrefix(file, "brain/config.db") || strings.HasPrefix(file, "brain/journal/jetstream/$G/streams/CONFIG/") || file == "database"
	case secret == "the platform's key":
		return file == "brain/admin.key" || file == "admin.key"
	case slices.Contains(pressedAsEvents, secret):
		return file == "rtpengine.log" // at its level 7, key by key: rtpengine.conf has 4
	}
	return secret == file
}

// public tells whether other users may read a file: those that Kamailio, FreeSWITCH and rtpengine write or read as users of their own.
func public(file string) bool {
	return slices.Contains([]string{"location.db", "node.pem", "rtpengine.pid", "trunks"}, file) || strings.HasPrefix(file, "kamailio-cfg/") || strings.HasPrefix(file, "media/")
}

// searchFiles searches every file of the edge, and the database as SQL reads it.
func (h *secretsHeld) searchFiles() {
	h.t.Helper()
	all, there, files, size := h.everything(), map[string]bool{}, map[string][]byte{"database": []byte(h.sqlite(".dump"))}, 0
	err := filepath.WalkDir(h.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, _ := filepath.Rel(h.Dir, path)
		files[name], err = os.ReadFile(path)
		info, infoErr := d.Info()
		if infoErr != nil || info.Mode().Perm()&0o077 != 0 && !public(name) {
			h.t.Errorf("%s may be read by others: %v, %v", name, info, infoErr)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	files["kamailio.log"] = ownConfiguration.ReplaceAll(files["kamailio.log"], nil)
	for name, data := range files {
		size += len(data)
		for _, secret := range all.found(data) {
			there[secret] = true
			if !h.belongs(secret, name) {
				h.t.Errorf("%s holds %s", name, secret)
			}
		}
	}
	h.t.Logf("%d files, %d bytes, %d secrets", len(files), size, len(all))
	for prefix, word := range h.beacons {
		in := func(name string) bool {
			return strings.HasPrefix(name, prefix) && bytes.Contains(append(slices.Clip(files[name]), unpacked(files[name])...), []byte(word))
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), in) {
			h.t.Errorf("%s does not hold %q: the search does not see what is there", prefix, word)
		}
	}
	for _, secret := range append(slices.Collect(maps.Keys(h.own)), pressedAsEvents...) {
		if !there[secret] {
			h.t.Errorf("%s was not found where it belongs", secret)
		}
	}
}
