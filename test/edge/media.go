package edge

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/test/contract/freeswitch/daemon"
)

// FreeSWITCH is the binary that the tests are to use instead of the stand-in, "" for none.
func FreeSWITCH() string { return os.Getenv("SIPIO_TEST_FREESWITCH") }

// startMedia starts the media server, when the options ask for one.
func (e *Edge) startMedia(ctx context.Context, bin string) error {
	if !e.opt.Media {
		return nil
	}
	password := randomHex(16)
	for name, secret := range map[string]string{e.mediaKeyFile(): password, e.opKeyFile(): e.opKey()} {
		if err := os.WriteFile(name, []byte(secret), 0o600); err != nil {
			return err
		}
	}
	dir := e.mediaDir()
	for _, sub := range []string{"moh", "streams"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if FreeSWITCH() == "" {
		e.Media = newProc(e.Dir, "media", nil, bin+"/fsim", "-sip", e.MediaSIP, "-esl", e.MediaESL, "-password", password,
			"-agents", e.MediaListen, "-music", filepath.Join(dir, "moh"),
			"-rtp-min", strconv.Itoa(e.mediaRTP), "-rtp-max", strconv.Itoa(e.mediaRTP+498))
		e.Media.argv = append(e.Media.argv, e.verbose("-v")...)
		return e.StartMedia(ctx)
	}
	sipIP, sipPort, _ := net.SplitHostPort(e.MediaSIP)
	eslIP, eslPort, _ := net.SplitHostPort(e.MediaESL)
	home := filepath.Join(e.Dir, "freeswitch")
	err := daemon.Render(filepath.Join(Root(), "freeswitch-cfg"), filepath.Join(home, "conf"), map[string]string{
		"sip_ip": sipIP, "sip_port": sipPort, "sip_acl": e.IP + "/32", "rtp_ip": sipIP, "rtp_start": strconv.Itoa(e.mediaRTP), "rtp_end": strconv.Itoa(e.mediaRTP + 498),
		"esl_ip": eslIP, "esl_port": eslPort, "esl_password": password, "agents": e.MediaListen,
		"music_dir": filepath.Join(dir, "moh"), "streams_dir": filepath.Join(dir, "streams"), "max_rate": "1000",
	})
	if err != nil {
		return err
	}
	args, err := daemon.Arguments(home)
	if err != nil {
		return err
	}
	e.Media = newProc(e.Dir, "media", nil, append([]string{FreeSWITCH()}, args...)...)
	return e.StartMedia(ctx)
}

// StartMedia starts the media server (again) and waits until its event socket speaks.
func (e *Edge) StartMedia(ctx context.Context) error {
	if err := e.Media.Start(e.tee("media")); err != nil {
		return err
	}
	return e.Media.WaitFor(ctx, "its event socket", func() error { return speaks(e.MediaESL) })
}

// WaitTrunk waits until Kamailio knows the address of a trunk.
func (e *Edge) WaitTrunk(addr string, d time.Duration) error {
	client, err := kam.Open(e.KamailioSocket, filepath.Join(e.Dir, "trunk-client.sock"), time.Second)
	if err != nil {
		return err
	}
	defer client.Close()
	var last any
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := client.Call(context.Background(), "permissions.addressDump", nil, &last); err == nil && strings.Contains(fmt.Sprint(last), addr) {
			return nil
		}
	}
	return fmt.Errorf("Kamailio does not know trunk %s: %v", addr, last)
}

// speaks tells whether an event socket greets, and takes its leave in order.
func speaks(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	greeting := make([]byte, 26)
	if _, err := conn.Read(greeting); err != nil {
		return fmt.Errorf("event socket on %s: %w", addr, err)
	}
	_, err = conn.Write([]byte("exit\n\n"))
	return err
}

func (e *Edge) mediaDir() string     { return filepath.Join(e.Dir, "media") }
func (e *Edge) mediaKeyFile() string { return filepath.Join(e.Dir, "media.key") }
func (e *Edge) opKeyFile() string    { return filepath.Join(e.Dir, "op.key") }

// opKey is the key of orders, the same each time it is asked for.
func (e *Edge) opKey() string {
	if e.orders == "" {
		e.orders = randomHex(16)
	}
	return e.orders
}

func (e *Edge) mediaNodeFlags() []string {
	flags := []string{"--media-listen=" + e.MediaListen, "--media-dir=" + e.mediaDir()}
	if !e.opt.Media {
		return flags
	}
	return append(flags, "--media-key-file="+e.mediaKeyFile(), "--op-key-file="+e.opKeyFile(), "--media-esl="+e.MediaESL, "--media-proxy="+e.SIP)
}

func (e *Edge) mediaBrainFlags() []string {
	if !e.opt.Media {
		return nil
	}
	if err := os.WriteFile(e.opKeyFile(), []byte(e.opKey()), 0o600); err != nil {
		return nil // the brain says that it has no key
	}
	return []string{"--op-key-file=" + e.opKeyFile()}
}
