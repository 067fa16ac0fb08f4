# Varnish in front of examples/in-front.mjs. It needs the module xkey: Debian's package varnish-modules.
vcl 4.1;

import xkey;

backend app {
  .host = "127.0.0.1";
  .port = "3000";
}

# Who may purge: the app's hosts.
acl apps {
  "127.0.0.1";
}

sub vcl_recv {
  if (req.method == "PURGE") {
    if (client.ip !~ apps || !req.http.Surrogate-Key) {
      return (synth(403));
    }
    set req.http.purged = xkey.purge(req.http.Surrogate-Key);
    return (synth(200, req.http.purged + " purged"));
  }
}

sub vcl_backend_response {
  # The module finds responses by the names in this field.
  set beresp.http.xkey = beresp.http.Surrogate-Key;
  # Nothing is served beyond its time while it is fetched anew.
  set beresp.grace = 0s;
  # For a copy that is too old, the app is asked whether it is still right.
  set beresp.keep = 1h;
}

sub vcl_deliver {
  # The names are nobody else's business.
  unset resp.http.xkey;
  unset resp.http.Surrogate-Key;
  if (obj.hits > 0) {
    set resp.http.X-Cache = "HIT";
  } else {
    set resp.http.X-Cache = "MISS";
  }
}
