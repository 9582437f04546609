'use strict';

/* asv's pages load their data by XMLHttpRequest, which browsers refuse to pages opened from a
   folder. All data is in ``historyData`` instead, by the path that is asked for. */
$.ajaxTransport('json', function (options) {
    var path = decodeURIComponent(options.url.replace(/[?].*$/, ''));
    if (!Object.prototype.hasOwnProperty.call(historyData, path)) {
        return undefined;
    }
    return {
        send: function (headers, complete) {
            /* Later, as from a network: the other scripts of the page register themselves first. */
            setTimeout(function () {
                complete(200, 'OK', {json: historyData[path]});
            }, 0);
        },
        abort: function () {}
    };
});
