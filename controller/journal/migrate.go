package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Migrate moves the store of one machine into a new cluster; the brain that had it open must be stopped. Sequences stay as they
// are, so epochs, the logs' chains and the configuration's versions go on. Nothing is deleted: when all is copied, compared
// and switched over, the old folder is marked as migrated and is never opened again. A failure before that leaves the old
// store as it was; delete the cluster's streams, or its folders, and migrate again. progress is told each step.
func Migrate(ctx context.Context, from, to Config, progress func(string)) error {
	from, err := from.withDefaults()
	if err != nil {
		return err
	}
	if to, err = to.withDefaults(); err != nil {
		return err
	}
	if from.Dir == "" || len(to.URLs) == 0 || len(to.LeafURLs) == 0 {
		return errors.New("migrate: from a folder, to the URLs of a cluster and of its leafnode port")
	}
	m := &migration{to: to, progress: progress}
	defer m.close()
	if err := m.run(ctx, from); err != nil {
		return fmt.Errorf("migrate %s: %w", from.Dir, err)
	}
	return nil
}

// migration is one under way.
type migration struct {
	to       Config
	progress func(string)
	folder   *folder
	old, new *Bus
}

func (m *migration) close() {
	for _, b := range []*Bus{m.old, m.new} {
		if b != nil {
			_ = b.Close()
		}
	}
	if m.folder != nil {
		_ = m.folder.Close()
	}
}

func (m *migration) run(ctx context.Context, from Config) (err error) {
	if m.folder, err = openFolder(from.Dir, modeSolo); err != nil {
		return err
	}
	if err := m.connect(ctx, from); err != nil {
		return err
	}
	streams, err := m.streams(ctx)
	if err != nil {
		return err
	}
	for _, info := range streams {
		if err := m.mirror(ctx, info); err != nil {
			return fmt.Errorf("stream %s: %w", info.Config.Name, err)
		}
	}
	for _, info := range streams {
		if err := m.compare(ctx, info); err != nil {
			return fmt.Errorf("stream %s: %w", info.Config.Name, err)
		}
	}
	for _, info := range streams {
		if err := m.promote(ctx, info); err != nil {
			return fmt.Errorf("stream %s: %w", info.Config.Name, err)
		}
	}
	if err := m.folder.mark(modeMigrated + " to " + m.new.nc.ConnectedClusterName()); err != nil {
		return err
	}
	m.progress("done: start the brains with the cluster's URLs")
	return nil
}

// connect opens the old store with a line to the cluster, and the cluster.
func (m *migration) connect(ctx context.Context, from Config) (err error) {
	m.new = &Bus{cfg: m.to, log: m.to.Log, stop: func() {}}
	if m.new.nc, err = connect(m.to, nil); err != nil {
		return err
	}
	if m.new.js, err = jetstream.New(m.new.nc, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	opts := baseOptions(from.Dir)
	opts.ServerName, opts.DontListen, opts.JetStreamDomain = "sipio-migrate", true, soloDomain
	remote := &server.RemoteLeafOpts{}
	for _, text := range m.to.LeafURLs {
		u, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("leafnode URL: %w", err)
		}
		if m.to.CredsFile != "" {
			name, password, err := readUser(m.to.CredsFile)
			if err != nil {
				return err
			}
			u.User = url.UserPassword(name, password)
		}
		remote.URLs = append(remote.URLs, u)
		remote.TLS = remote.TLS || u.Scheme == "tls"
	}
	if m.to.CAFile != "" {
		if err := secureLeaf(remote, m.to.CAFile); err != nil {
			return err
		}
	}
	opts.LeafNode.Remotes = []*server.RemoteLeafOpts{remote}
	m.old = &Bus{cfg: from, log: from.Log, stop: func() {}}
	if m.old.srv, err = startServer(opts, from.Log); err != nil {
		return err
	}
	if m.old.nc, err = connect(from, m.old.srv); err != nil {
		return err
	}
	m.old.js, err = jetstream.NewWithDomain(m.old.nc, soloDomain, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	return m.meet(ctx)
}

// secureLeaf sets who must have signed the cluster's certificate.
func secureLeaf(remote *server.RemoteLeafOpts, file string) error {
	pool, err := readCA(file)
	if err != nil {
		return err
	}
	remote.TLS, remote.TLSTimeout = true, 5
	remote.TLSConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return nil
}

// meet waits until the cluster sees the old store.
func (m *migration) meet(ctx context.Context) error {
	seen, err := jetstream.NewWithDomain(m.new.nc, soloDomain, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return m.new.untilReady(ctx, func(ctx context.Context) error {
		_, err := seen.AccountInfo(ctx)
		return err
	})
}

// streams lists those of the old store, and refuses a cluster that is in use already.
func (m *migration) streams(ctx context.Context) ([]*jetstream.StreamInfo, error) {
	err := m.new.untilReady(ctx, func(ctx context.Context) error {
		names := m.new.js.StreamNames(ctx)
		for name := range names.Name() {
			return fmt.Errorf("the cluster has stream %s already: migrate into a new one", name)
		}
		return names.Err()
	})
	if err != nil {
		return nil, err
	}
	list := m.old.js.ListStreams(ctx)
	var out []*jetstream.StreamInfo
	for info := range list.Info() {
		out = append(out, info)
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("the store is empty: there is nothing to move")
	}
	slices.SortFunc(out, func(x, y *jetstream.StreamInfo) int { return strings.Compare(x.Config.Name, y.Config.Name) })
	return out, nil
}

// target is the stream as it will be in the cluster.
func (m *migration) target(info *jetstream.StreamInfo) jetstream.StreamConfig {
	cfg := info.Config
	cfg.Replicas = m.to.Replicas
	cfg.FirstSeq = 0
	return cfg
}

// mirror makes the copy and waits until it is level. A stream without messages needs no copy, only its next sequence.
func (m *migration) mirror(ctx context.Context, info *jetstream.StreamInfo) error {
	cfg := m.target(info)
	m.progress(fmt.Sprintf("%s: %d messages, last sequence %d", cfg.Name, info.State.Msgs, info.State.LastSeq))
	if info.State.Msgs == 0 {
		cfg.FirstSeq = info.State.LastSeq + 1
		_, err := m.new.js.CreateStream(ctx, cfg)
		return err
	}
	cfg.Subjects, cfg.SubjectDeleteMarkerTTL = nil, 0
	cfg.Mirror = &jetstream.StreamSource{Name: cfg.Name, Domain: soloDomain}
	s, err := m.new.js.CreateStream(ctx, cfg)
	if err != nil {
		return fmt.Errorf("make the copy: %w", err)
	}
	for try := 0; ; try++ {
		got, err := s.Info(ctx)
		if err != nil && !notReady(err) {
			return fmt.Errorf("watch the copy: %w", err)
		}
		if err == nil && level(got, info) {
			return nil
		}
		if !pause(ctx, try) {
			return fmt.Errorf("the copy is not level: %w", ctx.Err())
		}
	}
}

// level says whether a copy has all of the original. Keys with a life vanish meanwhile on both sides: there the lag is asked.
func level(got, want *jetstream.StreamInfo) bool {
	if want.Config.AllowMsgTTL {
		return got.Mirror != nil && got.Mirror.Active >= 0 && got.Mirror.Lag == 0
	}
	return got.State.LastSeq >= want.State.LastSeq && got.State.Msgs >= want.State.Msgs
}

// compare holds the copy against the original, message by message.
func (m *migration) compare(ctx context.Context, info *jetstream.StreamInfo) error {
	name := info.Config.Name
	if info.Config.AllowMsgTTL {
		return nil
	}
	before, n, err := digest(ctx, m.old.js, name)
	if err != nil {
		return err
	}
	after, copied, err := digest(ctx, m.new.js, name)
	if err != nil {
		return err
	}
	if n != copied || !bytes.Equal(before, after) {
		return fmt.Errorf("the copy differs: %d messages with digest %x, the original %d with %x", copied, after, n, before)
	}
	m.progress(fmt.Sprintf("%s: copy is equal, digest %x", name, after[:8]))
	return nil
}

// promote turns the copy into a stream of its own that takes messages.
func (m *migration) promote(ctx context.Context, info *jetstream.StreamInfo) error {
	s, err := m.new.js.UpdateStream(ctx, m.target(info))
	if err != nil {
		return fmt.Errorf("promote the copy: %w", err)
	}
	if got := s.CachedInfo(); !info.Config.AllowMsgTTL && got.State.Msgs > 0 && got.State.LastSeq != info.State.LastSeq {
		return fmt.Errorf("the copy ends with sequence %d, the original with %d", got.State.LastSeq, info.State.LastSeq)
	}
	m.progress(info.Config.Name + ": switched over")
	return nil
}

// digest reads a whole stream and sums up sequences, subjects, headers and data.
func digest(ctx context.Context, js jetstream.JetStream, name string) (sum []byte, n int, err error) {
	for try := range digestTries {
		if sum, n, err = digestOnce(ctx, js, name); err == nil || !pause(ctx, try) {
			break
		}
	}
	return sum, n, err
}

// digestTries bounds how often a stream is read from its beginning: one that was just made in a cluster has a leader that
// does not answer yet or a replica that is not level, and reading changes nothing.
const digestTries = 50

func digestOnce(ctx context.Context, js jetstream.JetStream, name string) (sum []byte, n int, err error) {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, 0, fmt.Errorf("read: %w", err)
	}
	last, all, hash := s.CachedInfo().State.LastSeq, s.CachedInfo().State.Msgs, sha256.New()
	if all == 0 {
		return hash.Sum(nil), 0, nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, 0, fmt.Errorf("read: %w", err)
	}
	for at := uint64(0); at < last; {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil, 0, fmt.Errorf("read: %w", err)
		}
		before := at
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return nil, 0, fmt.Errorf("read: %w", err)
			}
			at = meta.Sequence.Stream
			n++
			line := binary.BigEndian.AppendUint64(nil, at)
			line = fmt.Appendf(line, "%q", msg.Subject())
			for _, k := range slices.Sorted(maps.Keys(msg.Headers())) {
				if !strings.HasPrefix(k, "Nats-Expected-") { // asked of the store when it was written; a copy drops them
					line = fmt.Appendf(line, "%q%q", k, msg.Headers()[k])
				}
			}
			line = binary.BigEndian.AppendUint64(line, uint64(len(msg.Data())))
			hash.Write(line)
			hash.Write(msg.Data())
			if meta.NumPending == 0 && uint64(n) < all { // the consumer stands on a replica that is behind its leader
				return nil, 0, fmt.Errorf("read: %d messages of %d so far", n, all)
			}
			if meta.NumPending == 0 {
				return hash.Sum(nil), n, nil
			}
		}
		if batch.Error() != nil || at == before {
			return nil, 0, fmt.Errorf("read behind sequence %d of %d: nothing comes: %w", at, last, errors.Join(batch.Error(), ctx.Err()))
		}
	}
	return hash.Sum(nil), n, nil
}
