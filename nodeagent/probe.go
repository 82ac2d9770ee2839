package nodeagent

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/ng"
)

// DaemonStatus is what the last probe of a daemon found.
type DaemonStatus struct {
	Healthy bool   `json:"healthy"`
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

// BrainStatus is what became of the last heartbeat.
type BrainStatus struct {
	Reported bool      `json:"reported"`
	At       time.Time `json:"at"`
	Version  string    `json:"version,omitempty"` // protocol of the brain
	Error    string    `json:"error,omitempty"`
}

// probes asks the daemons of this node and remembers what they said.
type probes struct {
	kamailio  *kam.Client
	rtpengine *ng.Client
	log       *slog.Logger

	mu       sync.Mutex
	kam, rtp DaemonStatus
	brain    BrainStatus
	dialogs  int
	contacts int
	queued   int // events in Kamailio's memory
	media    ng.Statistics
	probed   bool
}

// probe asks both daemons, each bounded by its client's timeout.
func (p *probes) probe(ctx context.Context) {
	version, stats, contacts, queued, kamErr := p.askKamailio(ctx)
	media, rtpErr := p.rtpengine.Statistics(ctx)
	installed := p.rtp.Version
	if rtpErr == nil && !p.rtp.Healthy {
		installed = rtpengineVersion(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change("kamailio", &p.kam, version, kamErr)
	p.change("rtpengine", &p.rtp, installed, rtpErr)
	p.probed = true
	p.dialogs, p.contacts, p.queued, p.media = stats.All, contacts, queued, media
}

// versionTimeout is for a program to say its version: its libraries may have to be read from the disk.
const versionTimeout = 5 * time.Second

// rtpengineVersion is that of the program installed here, "" when it cannot be told: the ng protocol does not say which one answers.
// It is asked when rtpengine has begun to answer, so it is the one that was started.
func rtpengineVersion(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "rtpengine", "-v").CombinedOutput() // it says so on stderr
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "Version: ")
	if err != nil || !ok {
		return ""
	}
	return version
}

func (p *probes) askKamailio(ctx context.Context) (version string, stats kam.DialogStats, contacts, queued int, err error) {
	if version, err = p.kamailio.Version(ctx); err != nil {
		return "", stats, 0, 0, err
	}
	if stats, err = p.kamailio.DialogStats(ctx); err != nil {
		return version, stats, 0, 0, err
	}
	if contacts, err = p.kamailio.Contacts(ctx); err != nil {
		return version, stats, 0, 0, err
	}
	queued, err = p.kamailio.Queued(ctx)
	return version, stats, contacts, queued, err
}

// change stores a daemon's state and logs when it turned.
func (p *probes) change(name string, was *DaemonStatus, version string, err error) {
	now := DaemonStatus{Healthy: err == nil, Version: version}
	if err != nil {
		now.Error = err.Error()
	}
	switch {
	case !now.Healthy && (was.Healthy || !p.probed):
		p.log.Warn(name+" does not answer its probe", "error", err)
	case now.Healthy && !was.Healthy:
		p.log.Info(name+" answers", "version", version)
	}
	*was = now
}

// heartbeat fills what the probes know into a heartbeat.
func (p *probes) heartbeat(beat *api.Heartbeat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	beat.Healthy = map[string]bool{"kamailio": p.kam.Healthy, "rtpengine": p.rtp.Healthy}
	if p.kam.Version != "" {
		beat.Versions["kamailio"] = p.kam.Version
	}
	if p.rtp.Version != "" {
		beat.Versions["rtpengine"] = p.rtp.Version
	}
	beat.Dialogs, beat.Contacts, beat.QueuedEvents = p.dialogs, p.contacts, p.queued
	beat.MediaSessions, beat.KernelForwarding = p.media.Sessions, p.media.KernelForwarding()
}

// reported stores what became of a heartbeat and logs when that turned.
func (p *probes) reported(version string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.brain
	p.brain = BrainStatus{Reported: err == nil, At: time.Now(), Version: version}
	switch {
	case err != nil:
		p.brain.Error = err.Error()
		if was.Reported || was.At.IsZero() {
			p.log.Warn("heartbeat does not reach a brain", "error", err)
		}
	case !was.Reported:
		p.log.Info("heartbeat reaches the brain", "protocol", version)
	}
}

// kamailioUp tells whether the last probe found Kamailio.
func (p *probes) kamailioUp() bool {
	kamailio, _, _ := p.status()
	return kamailio.Healthy
}

// status returns the last findings for /health.
func (p *probes) status() (kamailio, rtpengine DaemonStatus, brain BrainStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kam, p.rtp, p.brain
}

// checkProtocol refuses a brain of a higher major protocol version: its answers may mean something
// this agent does not know.
func checkProtocol(version string) error {
	theirs, err := major(version)
	if err != nil {
		return err
	}
	ours, err := major(api.Version)
	if err != nil {
		return err
	}
	if theirs > ours {
		return fmt.Errorf("brain speaks protocol %s, this agent %s: upgrade sipio-node", version, api.Version)
	}
	return nil
}

func major(version string) (int, error) {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0, fmt.Errorf("protocol version %.40q: %w", version, err)
	}
	return n, nil
}
