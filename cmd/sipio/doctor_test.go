package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/doctor"
)

func TestDoctor_WritesItsFindings(t *testing.T) {
	// Proves how findings are shown, one of each level, by the golden file.
	const golden = "testdata/doctor.txt"
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	loopback, all := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("0.0.0.0")
	findings := doctor.Examine(now, doctor.Facts{
		Listeners: []doctor.Listener{{What: "door of the node agent", Setting: "SIPIO_NODE_DOOR_LISTEN", Port: 8480, Bound: []netip.Addr{loopback}}, {What: "rtpengine's control (ng)", Setting: "listen-ng of rtpengine.conf", Port: 2223, Bound: []netip.Addr{all}}},
		Files:     []doctor.File{{What: "node key", KeyFile: brain.KeyFile{Path: "/etc/sipio/node-key", Mode: 0o644}}},
		Secrets:   []doctor.Secret{{What: "secret of the edge (EDGE_SECRET)", Path: "/etc/sipio/kamailio/node.cfg", Value: "change-me-change-me-change-me-0000"}},
		Certs:     []doctor.Cert{{What: "certificate of the node's TLS", Path: "/etc/sipio/tls/node.pem", Ends: []doctor.End{{NotAfter: now.Add(9 * 24 * time.Hour)}}}},
		Versions:  []doctor.Version{{Program: "rtpengine", Where: "here", Text: "Version: 11.5.1.20"}, {Program: "kamailio", Where: "of edge2", Text: "kamailio 5.6.3 (x86_64/linux)"}},
		Bans:      &doctor.Bans{Table: "sipio", Present: true},
		Clock:     &doctor.Clock{Synchronized: true},
		Asked:     []doctor.Asked{{What: "brain of the node", URL: "https://brain-1:8443", Error: "it does not take the node's key or certificate, or this address: status 401"}},
		Unread:    []doctor.Unread{{What: "FreeSWITCH's configuration", Error: "permission denied"}},
	})
	var out bytes.Buffer
	if err := writeFindings(&out, findings, false); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%s: go test ./cmd/sipio -update writes it anew; now it is\n%s", golden, &out)
	}
}

func TestDoctor_NeedsSomethingToLookAt(t *testing.T) {
	// Proves that a machine on which nothing is set up is no healthy one, and that settings that no process would take are told.
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.env")
	if err := os.WriteFile(bad, []byte("SIPIO_NODE_DEADLINE=soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ node, says string }{{filepath.Join(dir, "none"), "say --node, --brain or --bus"}, {bad, "SIPIO_NODE_DEADLINE"}} {
		var out, errs bytes.Buffer
		code := run(context.Background(), []string{"doctor", "--units", dir, "--node-env", c.node, "--brain-env", filepath.Join(dir, "none")}, &out, &errs)
		if code != exitFailed || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: %d %s", c.node, code, &errs)
		}
	}
}

func TestReadSetUp_IsWhatSystemdGives(t *testing.T) {
	// Proves that a unit's variables and credentials count, those added to it too, the file's variables above them, quotes and comments as systemd
	// has them; that %d is the credential's source; and that the product's own units are read so.
	dir := t.TempDir()
	unit, env := filepath.Join(dir, "x.service"), filepath.Join(dir, "x.env")
	if err := os.Mkdir(unit+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		unit: "[Service]\nLoadCredential=op-key:/etc/sipio/op-key\nEnvironment=A=1\nEnvironment=\"B=two words\"\nEnvironment=K=%d/op-key\nExecStart=/x --c=3\n",
		filepath.Join(unit+".d", "override.conf"): "[Service]\nEnvironment=E=5\nEnvironment=A=7\n",

		env: "# A=9\n#A=8\n\nA='10'\nC=\"3\"\nD=a=b\nnonsense\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := readSetUp(unit, env)
	want := map[string]string{"A": "10", "B": "two words", "C": "3", "D": "a=b", "E": "5", "K": "/etc/sipio/op-key"}
	if err != nil || !reflect.DeepEqual(set.env, want) || set.credentials["op-key"] != "/etc/sipio/op-key" {
		t.Errorf("%v, %v, %v", set.env, set.credentials, err)
	}
	node, err := readSetUp("../../deploy/sipio-node.service", filepath.Join(dir, "none"))
	if err != nil || node.env["SIPIO_NODE_BAN_TABLE"] != "sipio" || node.credentials["node-key"] != "/etc/sipio/node-key" {
		t.Errorf("the node's unit: %v, %v", node, err)
	}
	brain, err := readSetUp("../../deploy/sipio-brain.service", "../../deploy/sipio-brain.env")
	if err != nil || len(brain.env) != 1 || brain.env["SIPIO_BRAIN_OP_KEY_FILE"] != "/etc/sipio/op-key" {
		t.Errorf("the brain's unit and sample: %v, %v", brain, err)
	}
}

func TestListening_ReadsTheTablesOfTheKernel(t *testing.T) {
	// Proves the reading of /proc/net: addresses of both kinds, states, ports in hexadecimal, and that what is no line of it is passed over.
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2120 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:1F55 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 0100007F:2120 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   3: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0 0 0 0 0
   4: B80D0120000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0 0 0 0 0
   5: 0100007:2120 x 0A
   6: zz:zz x 0A
`
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8480"), netip.MustParseAddrPort("0.0.0.0:8021"),
		netip.MustParseAddrPort("[::1]:8080"), netip.MustParseAddrPort("[2001:db8::1]:8080")}
	if got := listening(table, stateListen); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := listening("", stateOpen); got != nil {
		t.Errorf("%v", got)
	}
}

func TestDoctor_LooksAtTheAuthoritiesOfTrunks(t *testing.T) {
	// Proves that the file of TLS_CA is looked at when trunks are known by certificates, and only then; that files of keys are held
	// to the rule of the processes that read them; and that --json says the same.
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var bundle strings.Builder
	for i, left := range []time.Duration{time.Hour * 24 * 365, -time.Hour} {
		name := pkix.Name{CommonName: "carrier " + strconv.Itoa(i)}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(left)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		bundle.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	nodeCfg := `#!substdef "!TLS_CA!` + write("trunk-ca.pem", bundle.String(), 0o644) + `!g"` + "\n"
	env := write("node.env", "SIPIO_NODE_MEDIA_KEY_FILE="+write("media-key", "k3j5h2w9q8e7r6t1k3j5h2w9q8e7r6t1", 0o640)+"\nSIPIO_NODE_BRAIN_URLS=http://127.0.0.1:1\n", 0o644)
	if err := os.Chmod(filepath.Join(dir, "media-key"), 0o660); err != nil {
		t.Fatal(err)
	}
	examine := func(cfg string) (findings []doctor.Finding) {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(context.Background(), []string{"doctor", "--json", "--units", dir, "--node-env", env, "--brain-env", filepath.Join(dir, "none"), "--kamailio-cfg", write("node.cfg", cfg, 0o640),
			"--freeswitch-vars", filepath.Join(dir, "none"), "--rtpengine-conf", filepath.Join(dir, "none"), "--tunnel-key", filepath.Join(dir, "none")}, &out, &errs)
		if err := json.Unmarshal(out.Bytes(), &findings); err != nil || code != exitFailed {
			t.Fatalf("exit status %d, %v: %s %s", code, err, &out, &errs)
		}
		return findings
	}
	find := func(findings []doctor.Finding, what string) (found doctor.Finding) {
		for _, f := range findings {
			if f.What == what {
				found = f
			}
		}
		return found
	}
	if f := find(examine(nodeCfg), "authorities of trunks (TLS_CA)"); f != (doctor.Finding{}) {
		t.Errorf("looked at although nobody is known by it: %+v", f)
	}
	findings := examine("#!define TLS_TRUNKS\n" + nodeCfg)
	if f := find(findings, "authorities of trunks (TLS_CA)"); f.Level != doctor.Warn || !strings.Contains(f.Text, "CN=carrier 1, 1 of 2) ended") || f.Cure == "" {
		t.Errorf("%+v", f)
	}
	for _, f := range findings {
		if f.What == "password of FreeSWITCH's event socket" && strings.Contains(f.Text, "changed by its group: mode 0660") && f.Level == doctor.Fail {
			return
		}
	}
	t.Errorf("a key that its group can change is not told: %+v", findings)
}

func TestDoctor_LooksAtABus(t *testing.T) {
	// Proves that on the machine of a bus its password, its files and its certificates are looked at: each is told once it is wrong,
	// and the password is in no finding.
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"user": 0o640, "key": 0o644, "cert": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("sipio Plan7ed\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	env := filepath.Join(dir, "bus.env")
	text := "SIPIO_BUS_DATA_DIR=" + dir + "\nSIPIO_BUS_USER_FILE=" + dir + "/user\nSIPIO_BUS_TLS_KEY_FILE=" + dir + "/key\nSIPIO_BUS_TLS_CERT_FILE=" + dir + "/cert\nSIPIO_BUS_CA_FILE=" + dir + "/none\n"
	if err := os.WriteFile(env, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"doctor", "--units", dir, "--node-env", dir + "/none", "--brain-env", dir + "/none", "--bus-env", env}, &out, &errs)
	if code != exitFailed || strings.Contains(out.String(), "Plan7ed") {
		t.Errorf("exit status %d: %s %s", code, &out, &errs)
	}
	for _, want := range []string{"OK    password of the bus: " + dir + "/user has mode 0640", "FAIL  password of the bus: the one in " + dir + "/user can be guessed",
		"FAIL  key of the bus's TLS: " + dir + "/key is open to every user", "FAIL  certificate of the bus: " + dir + "/cert holds no certificate", "WARN  authority of the bus's members: not looked at"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not told: %s\n%s", want, &out)
		}
	}
}
