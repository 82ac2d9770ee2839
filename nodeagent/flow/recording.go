package flow

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// recording is the recording of a conversation. It is guarded by call.mu: operators stop and pause it.
type recording struct {
	want   string // key to record under as soon as there is a conversation
	key    string
	file   string // "" = nothing is being recorded
	masked bool
	ended  bool // an operator has stopped it: it is stored when the command ends
}

// recordingVariable tells the agent after this one, on the channel, of a recording: FILE|KEY.
const recordingVariable = "sipio_recording"

// errNotRecorded refuses an order about a recording that is not there.
var errNotRecorded = errors.New("the call is not being recorded")

// newFile names a file to record into. The folder is made if it is not there: FreeSWITCH hangs up calls whose
// recording it cannot write.
func (c *Calls) newFile() (string, error) {
	if err := os.MkdirAll(c.cfg.Dir, 0o770); err != nil {
		return "", fmt.Errorf("folder of recordings: %w", err)
	}
	return filepath.Join(c.cfg.Dir, strings.ToLower(rand.Text())+".wav"), nil
}

// newNotedFile is newFile for what goes on when this agent dies. The key that it is for is noted beside it (FILE.key)
// until it is stored. What a caller says to us alone has no note: the next agent has him say it again.
func (c *Calls) newNotedFile(key string) (string, error) {
	file, err := c.newFile()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file+keySuffix, []byte(key), 0o600); err != nil {
		return "", fmt.Errorf("note of a recording: %w", err)
	}
	return file, nil
}

// startRecording begins the recording that the command wants, if it wants one.
func (k *call) startRecording(ctx context.Context) {
	k.mu.Lock()
	key := k.rec.want
	k.mu.Unlock()
	if key == "" {
		return
	}
	if err := k.recordNow(ctx, key, k.api); err != nil {
		k.log.Error("a call that is to be recorded is not", "key", key, "error", err)
	}
}

// recordNow begins a recording in stereo: the caller on the left. One that was stopped before in the same command is
// left to the sweep, which stores what has a note.
func (k *call) recordNow(ctx context.Context, key string, order func(context.Context, string) (string, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec.file != "" && !k.rec.ended {
		return errors.New("the call is being recorded already")
	}
	file, err := k.of.newNotedFile(key)
	if err != nil {
		return err
	}
	if _, err := order(ctx, "uuid_record "+k.uuid+" start "+file); err != nil {
		return err
	}
	if _, err := order(ctx, "uuid_setvar "+k.uuid+" "+recordingVariable+" "+file+"|"+key); err != nil {
		k.log.Warn("the next agent would not know of a recording", "error", err)
	}
	k.rec.key, k.rec.file, k.rec.masked, k.rec.ended = key, file, false, false
	return nil
}

// mask replaces what is said by silence in the recording, or ends that.
func (k *call) mask(ctx context.Context, on bool, order func(context.Context, string) (string, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec.file == "" || k.rec.ended {
		return errNotRecorded
	}
	verb := " unmask "
	if on {
		verb = " mask "
	}
	if _, err := order(ctx, "uuid_record "+k.uuid+verb+k.rec.file); err != nil {
		return err
	}
	k.rec.masked = on
	return nil
}

// stopNow ends the recording. Its file is closed when RECORD_STOP comes.
func (k *call) stopNow(ctx context.Context, order func(context.Context, string) (string, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec.file == "" || k.rec.ended {
		return errNotRecorded
	}
	_, err := order(ctx, "uuid_record "+k.uuid+" stop "+k.rec.file)
	k.rec.ended = err == nil
	return err
}

// keepRecording ends what is being recorded, stores it and adds what the brain shall know of it.
func (k *call) keepRecording(ctx context.Context, data map[string]string) {
	k.mu.Lock()
	k.rec.want = ""
	rec := k.rec
	k.mu.Unlock()
	if rec.file == "" {
		return
	}
	if !k.gone && !rec.ended && k.stopped[rec.file] == nil {
		if err := k.stopNow(ctx, k.api); err != nil {
			k.log.Debug("a recording had stopped by itself", "error", err)
		}
	}
	if !k.settle(ctx, func() bool { return k.stopped[rec.file] != nil }) && k.stopping {
		<-time.After(closeTime) // no event will tell
	}
	delete(k.stopped, rec.file)
	k.mu.Lock()
	k.rec = recording{}
	k.mu.Unlock()
	if !k.gone {
		if _, err := k.api(ctx, "uuid_setvar "+k.uuid+" "+recordingVariable); err != nil {
			k.log.Debug("the mark of a recording stays", "error", err)
		}
	}
	data["duration_ms"] = cmp.Or(strings.TrimPrefix(data["duration_ms"], "0"), recordingMS(rec.file))
	if err := k.store(ctx, rec.key, rec.file, data); err != nil {
		k.log.Error("a recording could not be stored", "key", rec.key, "file", rec.file, "error", err)
		data["recording_lost"] = err.Error()
	}
}

// store hands a recording to the media store, with the caller's end or this process's no reason to leave it.
func (k *call) store(ctx context.Context, key, file string, data map[string]string) error {
	ref, err := k.of.store(ctx, key, file)
	if err != nil {
		return err
	}
	data["key"], data["sha256"], data["bytes"] = ref.Key, ref.SHA256, strconv.FormatInt(ref.Bytes, 10)
	return nil
}

// store hands a file to the media store and removes it. A file that cannot be stored stays where it is, an empty one does not.
// An agent that stops leaves the way to the store to the next one.
func (c *Calls) store(ctx context.Context, key, file string) (api.MediaRef, error) {
	limit := storeTimeout
	if ctx.Err() != nil {
		limit = farewellTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	size, err := audioBytes(file)
	if err != nil {
		return api.MediaRef{}, err
	}
	if size == 0 {
		c.discard(file)
		return api.MediaRef{}, errEmpty
	}
	ref, err := c.cfg.Media.Store(ctx, key, file)
	if err != nil && (ctx.Err() == nil || ref.SHA256 == "") {
		return api.MediaRef{}, err
	}
	if err != nil {
		c.log.Warn("a recording reaches the store later", "key", key, "error", err)
	}
	c.discard(file)
	return ref, nil
}

// discard removes a recording and the note beside it.
func (c *Calls) discard(file string) {
	for _, path := range []string{file, file + keySuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.log.Warn("a stored recording could not be removed", "file", path, "error", err)
		}
	}
}

// errEmpty says that a recording holds no sound.
var errEmpty = errors.New("nothing was recorded")

// keySuffix names the note beside a recording.
const keySuffix = ".key"

// recordingMS is the length of a recording of a conversation in milliseconds: both sides, 16 bit at 8 kHz.
func recordingMS(file string) string {
	size, err := audioBytes(file)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(size/(2*bytesPerMS), 10)
}

// wavHeader is the least size of the header of a WAV file.
const wavHeader = 44

// audioBytes returns how many bytes of sound a WAV file holds, 0 when it is not there.
func audioBytes(file string) (int64, error) {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return max(0, info.Size()-wavHeader), nil
}
