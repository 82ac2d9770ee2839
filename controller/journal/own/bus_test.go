package own

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

type busSpec struct {
	Name, Dir            string
	ClientPort, PeerPort int
	PeerPorts            []int
}

type bus struct {
	spec  busSpec
	child *exec.Cmd
}

type cluster struct {
	once    sync.Once
	err     error
	dir     string
	buses   []*bus
	mu      sync.Mutex
	account int
}

var (
	shared cluster // by all tests, each in its own account
	doomed cluster // of the one test that kills a server
)

const accounts = 40

// playBus is a nats-server until its standard input ends.
func playBus() int {
	var spec busSpec
	if err := json.Unmarshal([]byte(os.Getenv("OWN_TEST_SPEC")), &spec); err != nil {
		return 1
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, "server_name: %s\nlisten: 127.0.0.1:%d\n", spec.Name, spec.ClientPort)
	fmt.Fprintf(&conf, "jetstream { store_dir: %q, sync_interval: always, max_file: 100GB, max_mem: 1GB }\n", spec.Dir)
	fmt.Fprintf(&conf, "cluster { name: own, listen: 127.0.0.1:%d, pool_size: -1, routes: [", spec.PeerPort)
	for i, p := range spec.PeerPorts {
		fmt.Fprintf(&conf, "%s \"nats://127.0.0.1:%d\"", strings.Repeat(",", min(i, 1)), p)
	}
	conf.WriteString(" ] }\naccounts {\n SYS { users: [ {user: sys, password: sys} ] }\n")
	for i := range accounts {
		fmt.Fprintf(&conf, " T%d { jetstream: enabled, users: [ {user: t%d, password: t} ] }\n", i, i)
	}
	conf.WriteString("}\nsystem_account: SYS\n")
	file := filepath.Join(filepath.Dir(spec.Dir), spec.Name+".conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		return 1
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return 0
}

func (c *cluster) start() error {
	dir, err := os.MkdirTemp("", "own")
	if err != nil {
		return err
	}
	c.dir = dir
	ports, err := freePorts(6)
	if err != nil {
		return err
	}
	for i := range 3 {
		name := fmt.Sprintf("bus%d", i)
		c.buses = append(c.buses, &bus{spec: busSpec{
			Name: name, Dir: filepath.Join(dir, name), ClientPort: ports[i], PeerPort: ports[3+i], PeerPorts: ports[3:],
		}})
	}
	for _, b := range c.buses {
		if err := b.start(); err != nil {
			return err
		}
	}
	return nil
}

// nextPort is what freePorts looks at next: two clusters start at once, and neither must find free what the other has not bound yet. Those of
// package journal, whose tests run beside these, begin behind all of them.
var nextPort = struct {
	sync.Mutex
	n int
}{n: 3000 + rand.IntN(2000)}

// freePorts are ports nobody listens on, below the ephemeral ones, which a connection of anybody may have before a server listens.
func freePorts(n int) (ports []int, err error) {
	nextPort.Lock()
	defer nextPort.Unlock()
	for ; len(ports) < n && nextPort.n < 5500; nextPort.n++ {
		port := nextPort.n
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		return nil, fmt.Errorf("%d ports are free, want %d", len(ports), n)
	}
	return ports, nil
}

func (b *bus) start() error {
	spec, err := json.Marshal(b.spec)
	if err != nil {
		return err
	}
	b.child = exec.Command(os.Args[0])
	b.child.Env = append(os.Environ(), "OWN_TEST_ROLE=bus", "OWN_TEST_SPEC="+string(spec))
	b.child.Stderr = os.Stderr
	if _, err := b.child.StdinPipe(); err != nil { // ends with this process
		return err
	}
	out, err := b.child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.child.Start(); err != nil {
		return err
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		return fmt.Errorf("%s did not start: %w", b.spec.Name, err)
	}
	return nil
}

func (b *bus) kill() {
	_ = b.child.Process.Kill()
	_ = b.child.Wait()
}

func (c *cluster) stop() {
	for _, b := range c.buses {
		if b.child != nil {
			b.kill()
		}
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// newAccount is a part of the cluster that no other test sees, with the URLs of its servers.
func (c *cluster) newAccount(t testing.TB) (user string, urls []string) {
	t.Helper()
	c.once.Do(func() { c.err = c.start() })
	if c.err != nil {
		t.Fatal(c.err)
	}
	c.mu.Lock()
	user = fmt.Sprintf("t%d", c.account)
	c.account++
	c.mu.Unlock()
	for _, b := range c.buses {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", b.spec.ClientPort))
	}
	return user, urls
}
