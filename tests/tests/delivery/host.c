/*
 * A host of kvssink as C programs are: it asks for nothing, so a SIGPIPE ends it.
 *
 * Usage: host PIPELINE...   (as for gst-launch-1.0 -m)
 *
 * Plays to the end and prints the element messages. Exits with 0 after EOS, 1 after an error, 2 when something has changed
 * what this process does with signals, 3 when a thread of kvssink could be sent a SIGPIPE.
 */
#include <gst/gst.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Whether every thread of kvssink blocks SIGPIPE, as the kernel sees it; and at most how many there were so far. */
static gboolean threads_are_safe (guint *most)
{
  gboolean safe = TRUE;
  guint seen = 0;
  GDir *tasks = g_dir_open ("/proc/self/task", 0, NULL);
  const gchar *task;

  while (tasks && (task = g_dir_read_name (tasks))) {
    g_autofree gchar *path = g_strdup_printf ("/proc/self/task/%s/status", task);
    g_autofree gchar *status = NULL;
    const gchar *mask;

    /* A thread may just have ended. */
    if (!g_file_get_contents (path, &status, NULL, NULL) || !g_str_has_prefix (status, "Name:\tkvssink"))
      continue;
    seen++;
    mask = strstr (status, "SigBlk:\t");
    if (!mask || !(g_ascii_strtoull (mask + 8, NULL, 16) & (1ull << (SIGPIPE - 1)))) {
      g_printerr ("a thread may be sent SIGPIPE:\n%s\n", status);
      safe = FALSE;
    }
  }
  if (tasks)
    g_dir_close (tasks);
  *most = MAX (*most, seen);
  return safe;
}

static gboolean signals_are_untouched (void)
{
  struct sigaction action;
  sigset_t mask;

  return sigaction (SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL
      && pthread_sigmask (SIG_BLOCK, NULL, &mask) == 0 && !sigismember (&mask, SIGPIPE);
}

int main (int argc, char **argv)
{
  GError *error = NULL;
  gchar *debug = NULL;
  GstElement *pipeline;
  GstBus *bus;
  gboolean safe = TRUE;
  guint threads = 0;
  int code = -1;

  gst_init (&argc, &argv);
  pipeline = gst_parse_launchv ((const gchar **) argv + 1, &error);
  if (!pipeline || error) {
    g_printerr ("%s\n", error ? error->message : "no pipeline");
    return 1;
  }
  bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (code < 0) {
    GstMessage *message = gst_bus_timed_pop (bus, GST_SECOND);

    if (!message) {
      safe &= threads_are_safe (&threads);
      continue;
    }
    switch (GST_MESSAGE_TYPE (message)) {
      case GST_MESSAGE_EOS:
        code = 0;
        break;
      case GST_MESSAGE_ERROR:
        gst_message_parse_error (message, &error, &debug);
        g_printerr ("ERROR: %s\n%s\n", error->message, debug ? debug : "");
        code = 1;
        break;
      case GST_MESSAGE_ELEMENT:{
        g_autofree gchar *text = gst_structure_to_string (gst_message_get_structure (message));
        g_print ("(element): %s\n", text);
        break;
      }
      default:
        break;
    }
    gst_message_unref (message);
  }
  safe &= threads_are_safe (&threads);
  g_print ("kvssink had %u threads\n", threads);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  if (!signals_are_untouched ())
    return 2;
  return safe && threads > 0 ? code : 3;
}
